"use strict";

// A page with other names than the report's, which fetches what it shows.
const selection = new foldry.Selection();
let viewer = null;

function place(component) { return document.querySelector(`[data-component=${component}]`); }

async function json(name) { return (await fetch(`/data/${name}.json`)).json(); }

async function fill() {
  const [entry, confidence, [aligned], model] = await Promise.all([
    json("entry"), json("confidence"), json("pae"), fetch("/data/model.cif").then(answer => answer.text()),
  ]);
  const { chains, judged, coverage } = entry;
  const cells = Uint8Array.from(coverage.cells.flat());
  const errors = aligned.predicted_aligned_error.flat();
  foldry.plddtTrack(place("plddtTrack"), { chains, plddt: confidence.confidenceScore }, { selection });
  foldry.paePlot(place("paePlot"), { chains, errors, max: aligned.max_predicted_aligned_error }, { selection });
  foldry.coveragePlot(place("coveragePlot"), { chains, coverage: { ...coverage, cells } }, { selection });
  foldry.interfaceTable(place("interfaceTable"), { chains, ...judged, measures: judged.ofPairs });
  foldry.chainTable(place("chainTable"), { chains, measures: judged.ofChains });
  foldry.contactTable(place("contactTable"), { chains, ...judged }, { selection });
  viewer = await foldry.structureView(
    place("structureView"), { chains, name: "the entry", model },
    { selection, viewer: () => foldry.loadViewer("/viewer.js") });
  document.body.dataset.ready = "true";
}

fill();
