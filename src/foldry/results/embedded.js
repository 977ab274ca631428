/* Reads the data that a page contains: JSON in its element `data`, and compressed bytes in base64. */
"use strict";

const data = JSON.parse(byId("data").textContent);

function byId(id) { return document.getElementById(id); }

function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
}

async function unpackBytes(base64) { return new Uint8Array(await unpack(base64).arrayBuffer()); }

