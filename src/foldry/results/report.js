"use strict";

const { chains } = data;
const selection = new foldry.Selection();
let shown = data.predictions[0];
let viewer = null;

// Text

function pairs(id, entries) {
  byId(id).replaceChildren(...entries.map(([term, value]) => foldry.element("div", {},
    foldry.element("dt", {}, term), foldry.element("dd", {}, String(value)))));
}

function fileName(prediction) { return `ranked_${data.predictions.indexOf(prediction)}`; }

/** Return a text whose parts in backquotes are code. */
function marked(text) {
  return text.split("`").map((part, index) => (index % 2 ? foldry.element("code", {}, part) : part));
}

/** Return a whole number with separators, or a power of ten if it is large. */
function numberText(value) {
  if (value === null) return "–";
  if (Math.abs(value) < 1e7) return Math.round(value).toLocaleString("en");
  const [digits, power] = value.toExponential(1).split("e+");
  return `${digits} × 10${[...power].map(digit => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`;
}

/** Return a time of ISO 8601 as 29 November 2026, 01:06 UTC; other text is unchanged. */
function timeText(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return text;
  const part = options => time.toLocaleString("en-GB", { ...options, timeZone: "UTC" });
  const date = part({ day: "numeric", month: "long", year: "numeric" });
  return `${date}, ${part({ hour: "2-digit", minute: "2-digit" })} UTC`;
}

function scoreText({ value, decimals }) { return foldry.fixed(value, decimals); }

/** Maximum number of templates whose names are among the facts. */
const MOST_NAMED = 4;

function showFacts() {
  const { provenance } = shown;
  const distinct = names => {
    const all = [...new Set(Object.values(names).flat())];
    return all.length > MOST_NAMED ? String(all.length) : all.join(", "); // a table names them
  };
  const templates = distinct(data.templates);
  const read = provenance.templates_read && distinct(provenance.templates_read);
  const none = provenance.config.features?.num_templates === 1
    ? "none: their E-values are so high that they may be unrelated" : "none: it reads no templates";
  const count = chains.reduce((sum, { sequence }) => sum + sequence.length, 0);
  pairs("facts", [
    ["Residues", chains.length > 1 ? `${count} in ${chains.length} chains` : count],
    ...shown.scores.filter(({ value }) => value !== null).map(score => [score.name, scoreText(score)]),
    ["Model", provenance.model_name],
    ["Aligned sequences", data.coverage ? data.coverage.depth : 1],
    ...(templates ? [["Templates", templates]] : []),
    ...(read !== null && read !== templates ? [["Templates that the model read", read || none]] : []),
  ]);
  byId("notice").hidden = !provenance.notice;
  byId("notice").replaceChildren(...marked(provenance.notice));
}

function showProvenance() {
  const { provenance } = shown;
  const versions = Object.entries(provenance.versions).map(pair => pair.join(" ")).join(", ");
  const words = settings => Object.entries(settings)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${value}`).join(", ");
  pairs("provenance", [
    ["Model", provenance.model_name],
    ["Parameters", provenance.weights],
    ["SHA-256 of the parameters", provenance.weights_sha256],
    ["Seed", provenance.seed],
    ["Recycles", provenance.num_recycles],
    ["Settings", words(provenance.settings) || "defaults of the model"],
    ["Kernels", words(provenance.kernels)],
    ["Process", words(provenance.process) || "not recorded"],
    ["Device and precision", `${provenance.device}, ${provenance.dtype}`],
    ["Versions", versions],
    ["Made", timeText(provenance.created)],
  ]);
  byId("terms").textContent = shown.terms;
  byId("config").textContent = JSON.stringify(provenance.config, null, 1);
}

function showRanking() {
  byId("ranking-panel").hidden = data.predictions.length === 1;
  const known = shown.scores.map((_, index) => data.predictions.some(({ scores }) => scores[index].value !== null));
  const rows = foldry.dataTable(byId("ranking"), {
    label: "Predictions",
    header: ["Files", "Model", "Seed", ...shown.scores.filter((_, index) => known[index]).map(({ name }) => name)],
    rows: data.predictions.map(each => {
      const name = fileName(each);
      const button = foldry.element("button", { type: "button", "aria-label": `Show ${name}` }, name);
      button.addEventListener("click", () => queue(() => show(each)));
      const { model_name, seed } = each.provenance;
      const isLink = each !== shown && each.model;
      return [isLink ? button : name, model_name, seed,
        ...each.scores.filter((_, index) => known[index]).map(scoreText)];
    }),
  });
  rows[data.predictions.indexOf(shown)].setAttribute("aria-current", "true");
}

function showRelaxation() {
  const { relaxation } = shown;
  byId("relaxation-panel").hidden = !relaxation;
  if (!relaxation) return;
  const { relaxed, reason, rounds, platform, seconds, median_move, max_move } = relaxation;
  const about = relaxed
    ? `${rounds} ${rounds === 1 ? "round" : "rounds"} of Amber (OpenMM, ${platform}) in ${foldry.fixed(seconds, 0)} s. `
      + `Cα atoms moved by ${foldry.fixed(median_move, 2)} Å (median), at most ${foldry.fixed(max_move, 2)} Å. ${reason}`
    : `Not relaxed. ${reason} The structure is the network's prediction.`;
  byId("relaxation-about").replaceChildren(...marked(about));
  byId("relaxation").hidden = !relaxed;
  foldry.dataTable(byId("relaxation"), {
    label: "Relaxation",
    header: ["", "Before", "After"],
    rows: [
      ["Energy, kcal/mol", "energy"],
      ["Pairs of atoms that overlap by more than 1.5 Å", "clashes"],
      ["Residues with a wrong bond, angle, chirality or peptide, or a clash", "violations"],
    ].map(([what, key]) => [what, numberText(relaxation[`${key}_before`]), numberText(relaxation[`${key}_after`])]),
  });
}

function showTemplates() {
  const { header, rows, leftOut, numLeftOut } = data.templateTables;
  byId("templates-panel").hidden = !rows.length && !numLeftOut;
  byId("templates").hidden = !rows.length;
  byId("left-out-panel").hidden = !numLeftOut;
  foldry.dataTable(byId("templates"), { label: "Templates", header, rows });
  const which = numLeftOut > leftOut.length ? `the first ${leftOut.length} of ${numLeftOut}` : numLeftOut;
  byId("left-out-title").textContent = `Hits left out: ${which}`;
  foldry.dataTable(byId("left-out"), {
    label: "Hits left out", header: ["For chain", "Hit", "Reason"], rows: leftOut,
  });
}

// Figures

function showChains() {
  const { judged } = shown;
  for (const id of ["interfaces-panel", "contacts-panel"]) byId(id).hidden = !judged;
  if (!judged) return;
  const { pairs, clashing, contacts, total } = judged;
  foldry.interfaceTable(byId("interfaces"), { chains, pairs, clashing, measures: judged.ofPairs });
  foldry.chainTable(byId("chains"), { chains, measures: judged.ofChains });
  foldry.contactTable(byId("contacts"), { chains, contacts, total }, { selection });
}

async function showPlots() {
  const { pae, maxPae, plddt } = shown;
  byId("pae-panel").hidden = !pae;
  byId("structure-panel").classList.toggle("alone", !pae);
  foldry.plddtTrack(byId("plddt"), { chains, plddt }, { selection });
  if (!pae) return;
  foldry.paePlot(byId("pae"), { chains, errors: await unpackBytes(pae), scale: maxPae / 255, max: maxPae }, { selection });
}

async function showCoverage() {
  const coverage = data.coverage && { ...data.coverage, cells: await unpackBytes(data.coverage.cells) };
  foldry.coveragePlot(byId("coverage"), { chains, coverage }, { selection });
}

/** Load Mol* from the file that reports share, or from this page. */
async function loadMolstar() {
  if (data.viewer) return foldry.loadViewer(data.viewer.address, data.viewer.nonce);
  const script = await unpack(byId("viewer").textContent).text();
  document.head.append(foldry.element("script", {}, script));
}

async function showStructure() {
  const model = await unpack(shown.model).text();
  const save = byId("save");
  URL.revokeObjectURL(save.href);
  save.href = URL.createObjectURL(new Blob([model], { type: "chemical/x-mmcif" }));
  save.download = `${fileName(shown)}.cif`;
  viewer = await foldry.structureView(
    byId("structure"),
    { chains, name: `${data.name}, ${fileName(shown)}`, model },
    { selection, viewer: loadMolstar, controls: byId("coloring") });
}

async function show(prediction) {
  shown = prediction;
  selection.select([]);
  showFacts();
  showRanking();
  showProvenance();
  showChains();
  showRelaxation();
  await showPlots();
  await showStructure();
}

let work = Promise.resolve();

/** Run one task after the other: a quick second click must not mix two predictions. */
function queue(task) { work = work.then(task); }

byId("name").textContent = data.name;
showTemplates();
queue(showCoverage);
queue(() => show(shown));
queue(() => { document.body.dataset.ready = "true"; });
