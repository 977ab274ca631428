"use strict";

const CATEGORIES = [
  { from: 90, color: "#0053D6", label: "Very high", range: "≥ 90" },
  { from: 70, color: "#65CBF3", label: "Confident", range: "70–90" },
  { from: 50, color: "#FFDB13", label: "Low", range: "50–70" },
  { from: 0, color: "#FF7D45", label: "Very low", range: "< 50" },
];
const CHAIN_COLORS = [
  "#2f6db5", "#e58a1f", "#2c9b6a", "#b8438f", "#7b5fc9", "#c9473c", "#1199a8", "#8f7336", "#6f7a86", "#9aa822",
];
const HINT = "Point at the plot to read its values.";
const data = JSON.parse(byId("data").textContent);
const residues = data.chains.flatMap(chain =>
  [...chain.sequence].map((letter, index) => ({ chain: chain.id, letter, number: index + 1 })));
const several = data.chains.length > 1;
let end = 0;
const chains = data.chains.map(({ id, sequence }, index) => {
  const start = end;
  end += sequence.length;
  return { id, start, end, color: CHAIN_COLORS[index % CHAIN_COLORS.length] };
});
let shown = data.predictions[0];
let byChain = false;
let viewer = null;

function byId(id) { return document.getElementById(id); }

/** An element whose children are text or elements: nothing from the data is ever read as HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function svg(tag, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function category(plddt) { return CATEGORIES.find(each => plddt >= each.from); }

function residueName(index) {
  const { chain, letter, number } = residues[index];
  return `${several ? `${chain} ` : ""}${letter}${number}`;
}

function fixed(value, digits) { return value === null ? "–" : value.toFixed(digits); }

function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
}

async function unpackBytes(base64) { return new Uint8Array(await unpack(base64).arrayBuffer()); }

// Text

function pairs(list, entries) {
  list.replaceChildren(...entries.map(([term, value]) =>
    element("div", {}, element("dt", {}, term), element("dd", {}, String(value)))));
}

function showFacts() {
  const { provenance, meanPlddt, ptm, iptm } = shown;
  const facts = [
    ["Residues", several ? `${residues.length} in ${chains.length} chains` : residues.length],
    ["Mean pLDDT", fixed(meanPlddt, 1)],
    ["Model", provenance.model_name],
    ["Aligned sequences", data.coverage ? data.coverage.depth : 1],
  ];
  if (iptm !== null) facts.splice(2, 0, ["ipTM", fixed(iptm, 2)]);
  if (ptm !== null) facts.splice(2, 0, ["pTM", fixed(ptm, 2)]);
  pairs(byId("facts"), facts);
  byId("notice").hidden = !provenance.notice;
  byId("notice").replaceChildren(...provenance.notice.split("`").map((part, index) =>
    (index % 2 ? element("code", {}, part) : part)));
}

function showProvenance() {
  const { provenance } = shown;
  const versions = Object.entries(provenance.versions).map(pair => pair.join(" ")).join(", ");
  const settings = Object.entries(provenance.settings)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${value}`).join(", ");
  pairs(byId("provenance"), [
    ["Model", provenance.model_name],
    ["Parameters", provenance.weights],
    ["SHA-256 of the parameters", provenance.weights_sha256],
    ["Seed", provenance.seed],
    ["Recycles", provenance.num_recycles],
    ["Settings", settings || "as the model's own"],
    ["Kernels", provenance.kernels],
    ["Device and precision", `${provenance.device}, ${provenance.dtype}`],
    ["Versions", versions],
    ["Made", provenance.created],
  ]);
  byId("config").textContent = JSON.stringify(provenance.config, null, 1);
}

function fillTable(id, header, rows) {
  const titles = tableRow(header, "th");
  for (const title of titles.cells) title.scope = "col";
  byId(id).replaceChildren(element("thead", {}, titles), element("tbody", {}, ...rows));
}

function tableRow(cells, tag = "td") { return element("tr", {}, ...cells.map(cell => element(tag, {}, cell))); }

function showRanking() {
  const hasPtm = data.predictions.some(each => each.ptm !== null);
  const hasIptm = data.predictions.some(each => each.iptm !== null);
  const header = ["Files", "Model", "Seed", "pLDDT"];
  if (hasPtm) header.push("pTM");
  if (hasIptm) header.push("ipTM");
  const rows = data.predictions.map((each, rank) => {
    const { model_name, seed } = each.provenance;
    const cells = [`ranked_${rank}`, model_name, String(seed), fixed(each.meanPlddt, 1)];
    if (each !== shown && each.model) {
      cells[0] = element("button", { type: "button", "aria-label": `Show ranked_${rank}` }, cells[0]);
      cells[0].addEventListener("click", () => queue(() => show(each)));
    }
    if (hasPtm) cells.push(fixed(each.ptm, 2));
    if (hasIptm) cells.push(fixed(each.iptm, 2));
    const row = tableRow(cells);
    if (each === shown) row.setAttribute("aria-current", "true");
    return row;
  });
  fillTable("ranking", header, rows);
  byId("ranking-panel").hidden = data.predictions.length === 1;
}

// Chains

function measured(value) {
  return value === null ? "–" : Number.isInteger(value) ? String(value) : value.toFixed(value < 10 ? 2 : 1);
}

/** A table of measures, one row a chain or a pair, and under it what each measure means. */
function showMeasures(id, first, names, measures) {
  const rows = names.map((name, row) => tableRow([name, ...measures.map(each => measured(each.values[row]))]));
  fillTable(id, [first, ...measures.map(each => each.name)], rows);
  pairs(byId(`${id}-meaning`), measures.map(each => [each.name, each.meaning]));
}

function showChains() {
  const { judged } = shown;
  for (const id of ["interfaces-panel", "contacts-panel"]) byId(id).hidden = !judged;
  if (!judged) return;
  const { ofPairs, ofChains, clashing, contacts, numContacts } = judged;
  const names = clashing.map(index => chains[index].id).join(", ");
  byId("clash").textContent = clashing.length
    ? `Clash: too many atoms of ${clashing.length > 1 ? "chains" : "chain"} ${names} are less than 1.1 Å from other chains.`
    : "No chain clashes with another.";
  byId("clash").classList.toggle("notice", clashing.length > 0);
  showMeasures("pairs", "Chains", judged.pairs.map(pair => pair.map(index => chains[index].id).join(" – ")), ofPairs);
  showMeasures("chains", "Chain", chains.map(each => each.id), ofChains);
  const all = contacts.length === numContacts ? `All ${numContacts}` : `The surest ${contacts.length} of ${numContacts}`;
  byId("contacts-about").textContent = numContacts
    ? `${all} pairs of residues of different chains with Cβ at most 8 Å apart, by their predicted aligned error (of both directions the mean). Press one to see it in the structure.`
    : "No residues of different chains have Cβ at most 8 Å apart.";
  fillTable("contacts", ["Residues", "Cβ distance", "Aligned error"], contacts.map(([one, other, distance, error]) => {
    const button = element("button", { type: "button" }, `${residueName(one)} – ${residueName(other)}`);
    button.addEventListener("click", () => lookAt([one, other]));
    return tableRow([button, `${fixed(distance, 1)} Å`, `${fixed(error, 1)} Å`]);
  }));
}

function showRelaxation() {
  const { relaxation } = shown;
  byId("relaxation-panel").hidden = !relaxation;
  if (!relaxation) return;
  const { relaxed, reason, rounds, platform, seconds, median_move, max_move } = relaxation;
  byId("relaxation-about").textContent = relaxed
    ? `${rounds} ${rounds === 1 ? "round" : "rounds"} of Amber (OpenMM, ${platform}) in ${fixed(seconds, 0)} s. Cα atoms moved by ${fixed(median_move, 2)} Å in the median, ${fixed(max_move, 2)} Å at most. ${reason}`
    : `Not relaxed, the structure is the network's own: ${reason}`;
  const rows = relaxed ? [
    ["Energy, kcal/mol", "energy"],
    ["Pairs of atoms that overlap by more than 1.5 Å", "clashes"],
    ["Residues with a bond, an angle or a clash that is off", "violations"],
  ] : [];
  const number = value => (value === null ? "–" : Math.round(value).toLocaleString("en"));
  fillTable("relaxation", relaxed ? ["", "Before", "After"] : [], rows.map(([what, key]) =>
    tableRow([what, number(relaxation[`${key}_before`]), number(relaxation[`${key}_after`])])));
}

// Plots

/** Round steps so that at most `most` ticks lie between 0 and `top`. */
function tickStep(top, most) {
  const power = 10 ** Math.floor(Math.log10(top / most));
  return Math.max(1, [1, 2, 5, 10].map(each => each * power).find(step => top / step <= most));
}

/** Round numbers of residues, each with its place among all residues. */
function residueTicks(width) {
  const step = tickStep(residues.length, width / 60);
  return residues.map(({ number }, index) => ({ number, place: index + 0.5 })).filter(({ number }) => number % step === 0);
}

/** Names and colours of the chains along the top of a plot, and lines where they meet. */
function markChains({ front, margin, bottom, x }) {
  for (const { id, start, end, color } of chains) {
    const width = x(end) - x(start);
    front.append(svg("rect", { x: x(start), y: margin.top - 6, width, height: 4, fill: color }));
    if (width > 8 * id.length) {
      front.append(svg("text", { x: x((start + end) / 2), y: margin.top - 10, "text-anchor": "middle", class: "chain" }, id));
    }
    if (start > 0) front.append(svg("path", { class: "border", d: `M${x(start)},${margin.top}V${bottom}` }));
  }
}

/** A plot of residues along x: its frame, its axes and a place for the cursor. */
function frame(width, bare, { top, ...sides }) {
  const room = several ? 20 : 0;
  const margin = { top: top + room, ...sides };
  const height = bare + room;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
  const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
  const bottom = margin.top + inner.height;
  const x = index => margin.left + (index / residues.length) * inner.width;
  const layers = { back: svg("g"), front: svg("g") };
  root.append(layers.back, layers.front);
  for (const { number, place } of residueTicks(inner.width)) {
    layers.front.append(svg("text", { x: x(place), y: bottom + 18, "text-anchor": "middle" }, number));
    layers.front.append(svg("path", { class: "axis", d: `M${x(place)},${bottom}v4` }));
  }
  layers.front.append(svg("rect", {
    class: "axis", x: margin.left, y: margin.top, width: inner.width, height: inner.height,
  }));
  const plot = { root, inner, margin, bottom, x, ...layers };
  if (several) markChains(plot);
  return plot;
}

function axisTitles(plot, xTitle, yTitle) {
  const middle = plot.margin.top + plot.inner.height / 2;
  plot.front.append(
    svg("text", { x: plot.x(residues.length / 2), y: plot.bottom + 36, "text-anchor": "middle" }, xTitle),
    svg("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, yTitle));
}

function yTick(plot, value, y) {
  plot.front.append(svg("text", { x: plot.margin.left - 7, y: y + 4, "text-anchor": "end" }, value));
}

/** Bytes as a picture: `paint` gives red, green, blue of a byte from 0 to 255. */
function picture(bytes, width, height, paint) {
  const palette = Uint32Array.from({ length: 256 }, (_, byte) => {
    const [red, green, blue] = paint(byte);
    return (255 << 24) | (blue << 16) | (green << 8) | red;
  });
  const pixels = Uint32Array.from(bytes, byte => palette[byte]);
  const canvas = element("canvas", { width, height });
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
  return canvas.toDataURL();
}

/** The picture over the whole plot, its pixels kept sharp where they are large. */
function placeImage(plot, href) {
  const { inner, margin } = plot;
  const sharp = residues.length < inner.width;
  const image = svg("image", {
    href, x: margin.left, y: margin.top, width: inner.width, height: inner.height,
    preserveAspectRatio: "none", style: sharp ? "image-rendering:pixelated" : "",
  });
  plot.back.append(image);
  return image;
}

function mix(from, to, share) { return from.map((value, index) => Math.round(value + share * (to[index] - value))); }

function colorBar(plot, y, paint, labels) {
  const id = `bar-${labels[0]}`.replace(/\W/g, "");
  const gradient = svg("linearGradient", { id });
  for (let share = 0; share <= 1; share += 0.125) {
    gradient.append(svg("stop", { offset: share, "stop-color": `rgb(${paint(share * 255).join()})` }));
  }
  const { left } = plot.margin;
  const width = Math.min(plot.inner.width, 360);
  plot.back.append(gradient, svg("rect", { class: "axis", x: left, y, width, height: 10, style: `fill:url(#${id})` }));
  labels.slice(1).forEach((label, index, all) => plot.front.append(svg("text", {
    x: left + (index / (all.length - 1)) * width, y: y + 25,
    "text-anchor": index === 0 ? "start" : index === all.length - 1 ? "end" : "middle",
  }, label)));
}

/** Tell `read` which residue the pointer is at, or null; its answer is the line below the plot. */
function onPoint(plot, readout, read) {
  const at = event => {
    const box = plot.root.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left - plot.margin.left) / plot.inner.width) * residues.length);
    const row = Math.floor(((event.clientY - box.top - plot.margin.top) / plot.inner.height) * residues.length);
    const inside = index => index >= 0 && index < residues.length;
    readout.textContent = inside(column) && inside(row) ? read(column, row) : read(null) ?? HINT;
  };
  plot.root.addEventListener("pointermove", at);
  plot.root.addEventListener("pointerdown", at);
  plot.root.addEventListener("pointerleave", () => { readout.textContent = read(null) ?? HINT; });
  readout.textContent = HINT;
}

const paePaint = byte => mix([0, 70, 22], [255, 255, 255], byte / 255);
const coveragePaint = byte => (byte === 0 ? [255, 255, 255] : mix([226, 232, 246], [52, 38, 120], (byte - 1) / 254));

function drawPae(width, { pae, maxPae, paeImage }) {
  const sides = { left: 50, right: 10, top: 6, bottom: 86 };
  const side = Math.min(width, 480) - sides.left - sides.right;
  const plot = frame(side + sides.left + sides.right, side + sides.top + sides.bottom, sides);
  const { margin } = plot;
  plot.root.style.width = `${side + margin.left + margin.right}px`;
  placeImage(plot, paeImage);
  const y = place => margin.top + (place / residues.length) * side;
  for (const { number, place } of residueTicks(side)) yTick(plot, number, y(place));
  for (const { start } of chains.slice(1)) {
    plot.front.append(svg("path", { class: "border", d: `M${margin.left},${y(start)}h${side}` }));
  }
  axisTitles(plot, "Scored residue", "Aligned residue");
  colorBar(plot, plot.bottom + 48, paePaint, ["pae", "0 Å", "expected position error", `${Math.round(maxPae)} Å`]);
  const cursor = svg("path", { class: "cursor" });
  plot.front.append(cursor);
  onPoint(plot, byId("pae-readout"), (column, row) => {
    highlight(column);
    if (column === null) return cursor.removeAttribute("d");
    cursor.setAttribute("d", `M${plot.x(column + 0.5)},${margin.top}v${side}M${margin.left},${y(row + 0.5)}h${side}`);
    const error = (pae[row * residues.length + column] / 255) * maxPae;
    return `Aligned on ${residueName(row)}, ${residueName(column)} is expected to be off by about ${Math.round(error)} Å.`;
  });
  return plot.root;
}

function drawPlddt(width, { plddt }) {
  const plot = frame(width, 210, { left: 50, right: 10, top: 8, bottom: 44 });
  const { margin } = plot;
  const y = value => plot.bottom - (value / 100) * plot.inner.height;
  for (const value of [0, 50, 70, 90, 100]) {
    if (value !== 100 || plot.inner.height > 200) yTick(plot, value, y(value));
    plot.back.append(svg("path", { class: "grid", d: `M${margin.left},${y(value)}h${plot.inner.width}` }));
  }
  const paths = new Map(CATEGORIES.map(each => [each, ""]));
  const bar = plot.inner.width / residues.length;
  const gap = bar > 8 ? 1 : 0;
  plddt.forEach((value, index) => {
    const kind = category(value);
    paths.set(kind, `${paths.get(kind)}M${plot.x(index)},${plot.bottom}V${y(value)}h${bar - gap}V${plot.bottom}Z`);
  });
  for (const [kind, d] of paths) plot.back.append(svg("path", { d, fill: kind.color }));
  axisTitles(plot, "Residue", "pLDDT");
  const cursor = svg("path", { class: "cursor" });
  plot.front.append(cursor);
  onPoint(plot, byId("plddt-readout"), column => {
    highlight(column);
    if (column === null) return cursor.removeAttribute("d");
    cursor.setAttribute("d", `M${plot.x(column + 0.5)},${margin.top}v${plot.inner.height}`);
    return `${residueName(column)}: pLDDT ${fixed(plddt[column], 1)}, ${category(plddt[column]).label.toLowerCase()}.`;
  });
  return plot.root;
}

function drawCoverage(width, { depth, perResidue, coverageImage }) {
  const plot = frame(width, 300, { left: 50, right: 10, top: 8, bottom: 86 });
  const { margin } = plot;
  const y = rows => plot.bottom - (rows / depth) * plot.inner.height;
  // The query, the first row of the picture, is drawn at the bottom.
  placeImage(plot, coverageImage).setAttribute("transform", `translate(0 ${plot.bottom + margin.top}) scale(1 -1)`);
  const step = tickStep(depth, 5);
  for (let rows = 0; rows <= depth; rows += step) yTick(plot, rows, y(rows));
  const line = perResidue.map((rows, index) => `${plot.x(index)},${y(rows)}H${plot.x(index + 1)}`).join("L");
  plot.front.append(svg("path", { class: "depth", d: `M${line}` }));
  axisTitles(plot, "Residue", "Sequences");
  colorBar(plot, plot.bottom + 48, byte => coveragePaint(Math.max(byte, 1)), ["coverage", "0 %", "identity to the query", "100 %"]);
  const cursor = svg("path", { class: "cursor" });
  plot.front.append(cursor);
  onPoint(plot, byId("coverage-readout"), column => {
    highlight(column);
    if (column === null) return cursor.removeAttribute("d");
    cursor.setAttribute("d", `M${plot.x(column + 0.5)},${margin.top}v${plot.inner.height}`);
    return `${residueName(column)}: ${perResidue[column]} of ${depth} sequences have a residue here.`;
  });
  return plot.root;
}

/** Draw a plot as wide as its place, again whenever that changes. */
const redraw = new Map();
const resized = new ResizeObserver(entries => {
  requestAnimationFrame(() => {
    for (const { target, contentRect } of entries) {
      if (contentRect.width > 0) redraw.get(target)?.(contentRect.width);
    }
  });
});

function plot(id, label, draw) {
  const place = byId(id);
  place.setAttribute("aria-label", label);
  redraw.set(place, width => place.replaceChildren(draw(width)));
  resized.unobserve(place);
  resized.observe(place);
}

async function showPlots() {
  const { pae, maxPae, plddt, meanPlddt } = shown;
  byId("pae-panel").hidden = !pae;
  document.querySelector(".structure").classList.toggle("alone", !pae);
  const shares = CATEGORIES.map(each =>
    `${Math.round((100 * plddt.filter(value => category(value) === each).length) / plddt.length)} % ${each.label.toLowerCase()}`);
  plot("plddt", `pLDDT along the sequence: mean ${fixed(meanPlddt, 1)}; ${shares.join(", ")}.`, width => drawPlddt(width, { plddt }));
  if (!pae) return;
  const bytes = await unpackBytes(pae);
  const paeImage = picture(bytes, residues.length, residues.length, paePaint);
  const mean = (bytes.reduce((sum, byte) => sum + byte, 0) / bytes.length / 255) * maxPae;
  plot("pae", `Heat map of the predicted aligned error of all pairs of residues: mean ${fixed(mean, 1)} Å of at most ${Math.round(maxPae)} Å.`,
    width => drawPae(width, { pae: bytes, maxPae, paeImage }));
}

async function showCoverage() {
  const { coverage } = data;
  if (!coverage) {
    byId("coverage").replaceChildren("Folded from the sequence alone, without an alignment. Accuracy is lower than with one.");
    byId("coverage").removeAttribute("role");
    byId("coverage-readout").remove();
    return;
  }
  const { depth, perResidue, rows, cells } = coverage;
  const coverageImage = picture(await unpackBytes(cells), residues.length, rows, coveragePaint);
  plot("coverage", `Alignment of ${depth} sequences: between ${Math.min(...perResidue)} and ${Math.max(...perResidue)} of them cover each residue.`,
    width => drawCoverage(width, { depth, perResidue, coverageImage }));
}

// Structure

async function startViewer() {
  document.head.append(element("style", {}, await unpack(byId("viewer-style").textContent).text()));
  document.head.append(element("script", {}, await unpack(byId("viewer-script").textContent).text()));
  viewer = await molstar.Viewer.create(byId("viewer"), {
    extensions: ["ma-quality-assessment"],
    layoutIsExpanded: false,
    layoutShowControls: false,
    viewportBackgroundColor: "#ffffff",
    volumeStreamingDisabled: true,
  });
  if (!viewer.plugin.canvas3d) throw new Error("it has no WebGL");
  viewer.plugin.canvas3d.setProps({ camera: { helper: { axes: { name: "off", params: {} } } } });
}

let modelUrl = null;

async function showStructure() {
  const text = await unpack(shown.model).text();
  URL.revokeObjectURL(modelUrl);
  modelUrl = URL.createObjectURL(new Blob([text], { type: "chemical/x-mmcif" }));
  const rank = data.predictions.indexOf(shown);
  byId("save").href = modelUrl;
  byId("save").download = `ranked_${rank}.cif`;
  showLegend();
  if (!viewer) return;
  await viewer.plugin.clear();
  await viewer.loadStructureFromData(text, "mmcif");
  await colorStructure();
  const { camera, structure } = viewer.plugin.managers;
  const { center, radius } = structure.hierarchy.current.structures[0].cell.obj.data.boundary.sphere;
  viewer.plugin.canvas3d.commit(true);
  camera.orientAxes(undefined, 0);
  for (let frames = 0; frames < 2; frames++) await new Promise(requestAnimationFrame);
  // The sphere leaves much room around a structure that lies flat on the screen.
  camera.focusSphere({ center, radius: 0.9 * radius }, { durationMs: 0, extraRadius: 0 });
}

function showLegend() {
  const rank = data.predictions.indexOf(shown);
  byId("viewer").setAttribute("aria-label",
    `3D structure of ${data.name}, ranked_${rank}, coloured by ${byChain ? "chain" : "pLDDT"}. Drag to turn, scroll or pinch to zoom.`);
  const entries = byChain
    ? chains.map(({ color, id }) => [color, `Chain ${id}`])
    : CATEGORIES.map(({ color, label, range }) => [color, `${label} (${range})`]);
  byId("legend").setAttribute("aria-label", byChain ? "Colours of the chains" : "Colours of pLDDT");
  byId("legend").replaceChildren(...entries.map(([color, label]) =>
    element("li", {}, element("span", { style: `background:${color}` }), label)));
  for (const button of byId("coloring").children) {
    button.setAttribute("aria-pressed", String((button.value === "chain") === byChain));
  }
}

async function colorStructure() {
  const { hierarchy, component } = viewer.plugin.managers.structure;
  const colors = CHAIN_COLORS.map(color => parseInt(color.slice(1), 16));
  const palette = { name: "colors", params: { list: { kind: "set", colors } } };
  await component.updateRepresentationsTheme(hierarchy.current.structures.flatMap(each => each.components), byChain
    ? { color: "chain-id", colorParams: { asymId: "label", palette } }
    : { color: "plddt-confidence" });
}

async function colorBy(chain) {
  byChain = chain;
  showLegend();
  if (viewer) await colorStructure();
}

function inStructure(index) {
  return { label_asym_id: residues[index].chain, label_seq_id: residues[index].number };
}

function highlight(index) {
  if (!viewer) return;
  viewer.structureInteractivity(index === null
    ? { action: "highlight" }
    : { elements: inStructure(index), action: "highlight", applyGranularity: false });
}

/** Turn to some residues and mark them. */
function lookAt(indices) {
  byId("viewer").scrollIntoView({ block: "center" });
  if (!viewer) return;
  viewer.structureInteractivity({ elements: { items: indices.map(inStructure) }, action: ["select", "focus"] });
}

async function show(prediction) {
  shown = prediction;
  showFacts();
  showRanking();
  showProvenance();
  showChains();
  showRelaxation();
  await showPlots();
  await showStructure();
}

async function start() {
  byId("name").textContent = data.name;
  byId("coloring").hidden = !several;
  for (const button of byId("coloring").children) {
    button.addEventListener("click", () => queue(() => colorBy(button.value === "chain")));
  }
  showCoverage();
  await show(shown);
  byId("viewer").replaceChildren(element("p", {}, "Preparing the 3D view …"));
  try {
    await startViewer();
    await showStructure();
  } catch (error) {
    viewer = null;
    byId("viewer").replaceChildren(element("p", {}, `This browser cannot show the structure (${error.message}). Open the ModelCIF file in any molecular viewer.`));
  }
  document.body.dataset.ready = "true";
}

let work = Promise.resolve();

/** One task after the other, so that a quick second click does not mix two structures. */
function queue(task) { work = work.then(task); }

queue(start);
