/*
 * Components of a page about a predicted structure, for any host: a report that contains its data, or a
 * page that fetches data from a server.
 *
 * A component is a function of (place, data, options). It fills the element `place`, which components.css
 * styles; a second call with the same place replaces the data. It uses no id of the page, makes no request
 * and never reads data as HTML, so the data may contain any text.
 *
 * All data has `chains`, a list of { id, sequence }; arrays "per residue" follow the chains in this order.
 * Components with the same `options.selection` mark the same residues.
 */
const foldry = (() => {
  "use strict";

  const CATEGORIES = [
    { from: 90, color: "#0053D6", label: "Very high", range: "≥ 90" },
    { from: 70, color: "#65CBF3", label: "Confident", range: "70–90" },
    { from: 50, color: "#FFDB13", label: "Low", range: "50–70" },
    { from: -Infinity, color: "#FF7D45", label: "Very low", range: "< 50" },
  ];
  const CHAIN_COLORS = [
    "#2f6db5", "#e58a1f", "#2c9b6a", "#b8438f", "#7b5fc9", "#c9473c", "#1199a8", "#8f7336", "#6f7a86", "#9aa822",
  ];
  const HINT = "Point at the plot to read its values.";

  /** The residue under the pointer and the selected residues, as indices of arrays per residue. */
  class Selection {
    pointed = null;
    aligned = null;
    selected = [];
    #listeners = new Map();

    /** Point at a residue, or at no residue (null); in a plot of pairs, `aligned` is the row's residue. */
    point(residue, aligned = null) {
      if (residue === this.pointed && aligned === this.aligned) return;
      Object.assign(this, { pointed: residue, aligned });
      this.#listeners.forEach(({ pointed }) => pointed?.());
    }

    /** Replace the selection by these residues. */
    select(residues) {
      this.selected = residues;
      this.#listeners.forEach(({ selected }) => selected?.());
    }

    /** Call `pointed` or `selected` after a change; a place has one listener, its latest. */
    listen(place, listener) { this.#listeners.set(place, listener); }
  }

  // Elements

  function fill(made, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  /** Return an element with attributes and children, which are text or elements. */
  function element(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  }

  function put(place, ...children) {
    place.classList.add("foldry");
    place.replaceChildren(...children);
  }

  function fixed(value, digits) { return value === null ? "–" : value.toFixed(digits); }

  // Residues

  function category(plddt) { return CATEGORIES.find(each => plddt >= each.from); }

  /** Return the position of each chain and the name of each residue. */
  function layOut(chains) {
    let end = 0;
    const laid = chains.map(({ id, sequence }, index) => {
      const start = end;
      end += sequence.length;
      return { id, sequence, start, end, color: CHAIN_COLORS[index % CHAIN_COLORS.length] };
    });
    const chainOf = index => laid.find(chain => index < chain.end);
    const several = laid.length > 1;
    return {
      chains: laid, count: end, several,
      name(index) {
        const { id, sequence, start } = chainOf(index);
        return `${several ? `${id} ` : ""}${sequence[index - start]}${index - start + 1}`;
      },
      inModel(index) {
        const { id, start } = chainOf(index);
        return { label_asym_id: id, label_seq_id: index - start + 1 };
      },
      indexOf(id, number) { return laid.find(chain => chain.id === id).start + number - 1; },
    };
  }

  // Tables

  /** Draw a table. Data: `label`, the titles in `header`, and `rows` of cells, which are text or elements. */
  function dataTable(place, { label, header, rows }) {
    const cells = (tag, values, attributes) => values.map(value => element(tag, attributes, value));
    const head = element("thead", {}, element("tr", {}, ...cells("th", header, { scope: "col" })));
    const body = element("tbody", {}, ...rows.map(row => element("tr", {}, ...cells("td", row))));
    put(place, element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": label },
      element("table", {}, head, body)));
    return [...body.rows];
  }

  /** Draw a table of measures, followed by their meanings. */
  function measureTable(place, label, first, names, measures) {
    dataTable(place, {
      label,
      header: [first, ...measures.map(({ name, unit }) => (unit === "Å" ? `${name}, Å` : name))],
      rows: names.map((name, row) =>
        [name, ...measures.map(({ values, decimals }) => fixed(values[row], decimals))]),
    });
    place.append(element("dl", { class: "meaning" }, ...measures.map(({ name, meaning, unit }) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, `${meaning}${unit ? ` (${unit})` : ""}.`)))));
  }

  /**
   * Draw a table of the chains.
   *
   * Data: `chains`; `measures`, a list of { name, meaning, unit, decimals, values } with a value per chain.
   */
  function chainTable(place, { chains, measures }) {
    measureTable(place, "Chains", "Chain", chains.map(({ id }) => id), measures);
  }

  /**
   * Draw a table of the interfaces between chains.
   *
   * Data: `chains`; `pairs` of indices of chains; `measures` as in `chainTable`, with a value per pair;
   * `clashing`, the indices of the chains that clash.
   */
  function interfaceTable(place, { chains, pairs, measures, clashing }) {
    const ids = indices => indices.map(index => chains[index].id);
    measureTable(place, "Interfaces", "Chains", pairs.map(pair => ids(pair).join(" – ")), measures);
    const [which, run] = clashing.length > 1 ? ["chains", "are"] : ["chain", "is"];
    place.prepend(clashing.length
      ? element("p", { class: "warning" },
        `Clash: too many atoms of ${which} ${ids(clashing).join(", ")} are less than 1.1 Å from other chains.`)
      : element("p", { class: "about" }, "No chain clashes with another."));
  }

  /**
   * Draw a table of contacts between chains; a click on a contact selects its residues.
   *
   * Data: `chains`; `contacts`, a list of [residue, residue, distance, error]; `total`, the number of
   * all contacts, of which these have the lowest errors.
   */
  function contactTable(place, { chains, contacts, total }, { selection = new Selection() } = {}) {
    const { name } = layOut(chains);
    if (!total) {
      put(place, element("p", { class: "about" }, "No residues of different chains have Cβ at most 8 Å apart."));
      return;
    }
    const rows = contacts.map(([one, other, distance, error]) => {
      const button = element("button", { type: "button" }, `${name(one)} – ${name(other)}`);
      button.addEventListener("click", () => selection.select([one, other]));
      return [button, `${fixed(distance, 1)} Å`, `${fixed(error, 1)} Å`];
    });
    dataTable(place, { label: "Contacts between chains", header: ["Residues", "Cβ distance", "Aligned error"], rows });
    place.firstElementChild.classList.add("long");
    const which = contacts.length === total ? `All ${total}` : `The ${contacts.length} most reliable of ${total}`;
    place.prepend(element("p", { class: "about" },
      `${which} pairs of residues of different chains with Cβ at most 8 Å apart, sorted by their predicted `
      + "aligned error (mean of both directions). Click a pair to show it in the structure."));
  }

  // Plots

  /** Return the smallest round step with at most `most` ticks between 0 and `top`. */
  function tickStep(top, most) {
    const power = 10 ** Math.floor(Math.log10(top / most));
    return Math.max(1, [1, 2, 5, 10].map(each => each * power).find(step => top / step <= most));
  }

  /** Return round residue numbers, each with its position among all residues. */
  function residueTicks({ chains, count }, width) {
    const step = tickStep(count, width / 60);
    return chains.flatMap(({ start, end }) => {
      const ticks = [];
      for (let number = step; number <= end - start; number += step) ticks.push({ number, place: start + number - 0.5 });
      return ticks;
    });
  }

  /** Draw the names and colours of the chains above a plot, and lines between chains. */
  function markChains({ front, margin, bottom, x }, chains) {
    for (const { id, start, end, color } of chains) {
      const width = x(end) - x(start);
      front.append(svg("rect", { x: x(start), y: margin.top - 6, width, height: 4, fill: color }));
      const name = { x: x(start) + width / 2, y: margin.top - 10, "text-anchor": "middle", class: "chain" };
      if (width > 8 * id.length) front.append(svg("text", name, id));
      if (start > 0) front.append(svg("path", { class: "border", d: `M${x(start)},${margin.top}V${bottom}` }));
    }
  }

  /** Return a plot of residues along x: its frame, its axes and its cursor. */
  function frame(residues, width, bare, { top, ...sides }) {
    const room = residues.several ? 20 : 0;
    const margin = { top: top + room, ...sides };
    const height = bare + room;
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
    const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
    const bottom = margin.top + inner.height;
    const x = index => margin.left + (index / residues.count) * inner.width;
    const layers = { back: svg("g"), front: svg("g"), cursor: svg("path", { class: "cursor" }) };
    root.append(...Object.values(layers));
    for (const { number, place } of residueTicks(residues, inner.width)) {
      layers.front.append(svg("text", { x: x(place), y: bottom + 18, "text-anchor": "middle" }, number));
      layers.front.append(svg("path", { class: "axis", d: `M${x(place)},${bottom}v4` }));
    }
    const box = { x: margin.left, y: margin.top, ...inner };
    layers.front.append(svg("rect", { class: "axis", ...box }));
    const plot = { root, residues, inner, margin, box, bottom, x, ...layers };
    if (residues.several) markChains(plot, residues.chains);
    return plot;
  }

  function axisTitles(plot, xTitle, yTitle) {
    const middle = plot.margin.top + plot.inner.height / 2;
    plot.front.append(
      svg("text", { x: plot.x(plot.residues.count / 2), y: plot.bottom + 36, "text-anchor": "middle" }, xTitle),
      svg("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, yTitle));
  }

  function yTick(plot, value, y) {
    plot.front.append(svg("text", { x: plot.margin.left - 7, y: y + 4, "text-anchor": "end" }, value));
  }

  /** Return bytes as an image; `paint` returns the red, green and blue of a byte. */
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

  /** Put an image over the whole plot; large pixels stay sharp. */
  function placeImage(plot, href, rows) {
    const sharp = plot.residues.count < plot.inner.width || rows < plot.inner.height;
    const look = { preserveAspectRatio: "none", "image-rendering": sharp ? "pixelated" : "auto" };
    const image = svg("image", { href, ...plot.box, ...look });
    plot.back.append(image);
    return image;
  }

  function mix(from, to, share) { return from.map((value, index) => Math.round(value + share * (to[index] - value))); }

  function colorBar(plot, paint, labels) {
    const y = plot.bottom + 48;
    const { left } = plot.margin;
    const width = Math.min(plot.inner.width, 360);
    const href = picture(Uint8Array.from({ length: 256 }, (_, byte) => byte), 256, 1, paint);
    const bar = { x: left, y, width, height: 10 };
    plot.back.append(svg("image", { href, ...bar, preserveAspectRatio: "none" }), svg("rect", { class: "axis", ...bar }));
    labels.forEach((label, index, all) => plot.front.append(svg("text", {
      x: left + (index / (all.length - 1)) * width, y: y + 25,
      "text-anchor": index === 0 ? "start" : index === all.length - 1 ? "end" : "middle",
    }, label)));
  }

  /** Draw a plot as wide as its place, and again whenever the width changes. */
  const redraw = new WeakMap();
  const resized = new ResizeObserver(entries => {
    requestAnimationFrame(() => {
      for (const { target, contentRect } of entries) {
        if (contentRect.width > 0) redraw.get(target)?.(contentRect.width);
      }
    });
  });

  /**
   * Draw a figure with a label, and below it a line about the residue under the pointer. `draw` returns the
   * plot for a width, `read` the text of the line for a residue (and an aligned one), or null.
   */
  function chart(place, label, selection, draw, read) {
    const figure = element("div", { class: "chart", role: "img", "aria-label": label });
    const readout = element("p", { class: "readout" });
    let plot = null;
    const mark = () => {
      const { pointed, aligned } = selection;
      const across = plot.y && aligned !== null ? `M${plot.margin.left},${plot.y(aligned + 0.5)}h${plot.inner.width}` : "";
      readout.textContent = (pointed === null ? null : read(pointed, aligned)) ?? HINT;
      if (pointed === null) plot.cursor.removeAttribute("d");
      else plot.cursor.setAttribute("d", `M${plot.x(pointed + 0.5)},${plot.margin.top}V${plot.bottom}${across}`);
    };
    const point = event => {
      const { inner, margin, residues } = plot;
      const box = plot.root.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left - margin.left) / inner.width) * residues.count);
      const row = Math.floor(((event.clientY - box.top - margin.top) / inner.height) * residues.count);
      const inside = [column, row].every(index => index >= 0 && index < residues.count);
      selection.point(inside ? column : null, inside && plot.y ? row : null);
    };
    put(place, figure, readout);
    figure.addEventListener("pointermove", point);
    figure.addEventListener("pointerdown", point);
    figure.addEventListener("pointerleave", () => selection.point(null));
    redraw.set(figure, width => {
      if (plot && width === plot.width) return;
      plot = { ...draw(width), width };
      figure.replaceChildren(plot.root);
      selection.listen(place, { pointed: mark });
      mark();
    });
    resized.observe(figure);
  }

  const paePaint = byte => mix([0, 70, 22], [255, 255, 255], byte / 255);
  const coveragePaint = byte => (byte === 0 ? [255, 255, 255] : mix([226, 232, 246], [52, 38, 120], (byte - 1) / 254));

  /**
   * Draw the predicted aligned errors of all pairs of residues.
   *
   * Data: `chains`; `errors`, numbers of all pairs of residues, row by row, each row aligned on one residue;
   * `scale`, the size of their unit in Å; `max`, the largest error that the model can express, Å.
   */
  function paePlot(place, { chains, errors, scale = 1, max }, { selection = new Selection() } = {}) {
    const residues = layOut(chains);
    const bytes = Uint8Array.from(errors, error => Math.min(255, Math.round((error * scale * 255) / max)));
    const image = picture(bytes, residues.count, residues.count, paePaint);
    const mean = (errors.reduce((sum, error) => sum + error, 0) / errors.length) * scale;
    const label = `Predicted aligned error of all pairs of residues: mean ${fixed(mean, 1)} Å of at most ${Math.round(max)} Å.`;

    const draw = width => {
      const sides = { left: 50, right: 10, top: 6, bottom: 86 };
      const side = Math.min(width, 480) - sides.left - sides.right;
      const plot = frame(residues, side + sides.left + sides.right, side + sides.top + sides.bottom, sides);
      const { margin } = plot;
      plot.root.style.width = `${side + margin.left + margin.right}px`;
      placeImage(plot, image, residues.count);
      const y = index => margin.top + (index / residues.count) * side;
      for (const { number, place: at } of residueTicks(residues, side)) yTick(plot, number, y(at));
      for (const { start } of residues.chains.slice(1)) {
        plot.front.append(svg("path", { class: "border", d: `M${margin.left},${y(start)}h${side}` }));
      }
      axisTitles(plot, "Scored residue", "Aligned residue");
      colorBar(plot, paePaint, ["0 Å", "expected position error", `${Math.round(max)} Å`]);
      return { ...plot, y };
    };
    chart(place, label, selection, draw, (scored, aligned) => {
      if (aligned === null) return null;
      const error = Math.round(errors[aligned * residues.count + scored] * scale);
      return `Aligned on ${residues.name(aligned)}, ${residues.name(scored)} is expected to be off by about ${error} Å.`;
    });
  }

  /** Draw pLDDT along the sequence. Data: `chains`; `plddt`, 0 to 100 per residue. */
  function plddtTrack(place, { chains, plddt }, { selection = new Selection() } = {}) {
    const residues = layOut(chains);
    const mean = plddt.reduce((sum, value) => sum + value, 0) / plddt.length;
    const shares = CATEGORIES.map(each => {
      const count = plddt.filter(value => category(value) === each).length;
      return `${Math.round((100 * count) / plddt.length)} % ${each.label.toLowerCase()}`;
    });
    const label = `pLDDT along the sequence: mean ${fixed(mean, 1)}; ${shares.join(", ")}.`;

    const draw = width => {
      const plot = frame(residues, width, 210, { left: 50, right: 10, top: 8, bottom: 44 });
      const y = value => plot.bottom - (value / 100) * plot.inner.height;
      for (const value of [0, 50, 70, 90]) {
        yTick(plot, value, y(value));
        plot.back.append(svg("path", { class: "grid", d: `M${plot.margin.left},${y(value)}h${plot.inner.width}` }));
      }
      const paths = new Map(CATEGORIES.map(each => [each, ""]));
      const bar = plot.inner.width / residues.count;
      const gap = bar > 8 ? 1 : 0;
      plddt.forEach((value, index) => {
        const kind = category(value);
        const outline = `M${plot.x(index)},${plot.bottom}V${y(value)}h${bar - gap}V${plot.bottom}Z`;
        paths.set(kind, paths.get(kind) + outline);
      });
      for (const [kind, d] of paths) plot.back.append(svg("path", { d, fill: kind.color }));
      axisTitles(plot, "Residue", "pLDDT");
      return plot;
    };
    chart(place, label, selection, draw, index =>
      `${residues.name(index)}: pLDDT ${fixed(plddt[index], 1)}, ${category(plddt[index]).label.toLowerCase()}.`);
  }

  /**
   * Draw the coverage of the alignment.
   *
   * Data: `chains`; `coverage`, null without an alignment, otherwise its `depth`, the number of sequences with
   * each residue in `perResidue`, and the image of its `rows` in `cells`: per residue 0 for a gap, otherwise
   * 1 to 255 for the row's identity to the query.
   */
  function coveragePlot(place, { chains, coverage }, { selection = new Selection() } = {}) {
    if (!coverage) {
      put(place, element("p", {},
        "This structure was predicted from a single sequence. Accuracy is lower than with an alignment."));
      return;
    }
    const residues = layOut(chains);
    const { depth, perResidue, rows, cells } = coverage;
    const image = picture(cells, residues.count, rows, coveragePaint);
    const [least, most] = [Math.min, Math.max].map(pick => perResidue.reduce((one, other) => pick(one, other)));
    const label = `Alignment of ${depth} sequences: between ${least} and ${most} of them cover each residue.`;

    const draw = width => {
      const plot = frame(residues, width, 300, { left: 50, right: 10, top: 8, bottom: 86 });
      const y = count => plot.bottom - (count / depth) * plot.inner.height;
      // The query, the first row of the image, is at the bottom.
      placeImage(plot, image, rows).setAttribute("transform", `translate(0 ${plot.bottom + plot.margin.top}) scale(1 -1)`);
      const step = tickStep(depth, 5);
      for (let count = 0; count <= depth; count += step) yTick(plot, count, y(count));
      const line = perResidue.map((count, index) => `${plot.x(index)},${y(count)}H${plot.x(index + 1)}`).join("L");
      plot.front.append(svg("path", { class: "depth", d: `M${line}` }));
      axisTitles(plot, "Residue", "Sequences");
      colorBar(plot, byte => coveragePaint(Math.max(byte, 1)), ["0 %", "identity to the query", "100 %"]);
      return plot;
    };
    chart(place, label, selection, draw, index =>
      `${residues.name(index)}: ${perResidue[index]} of ${depth} sequences have a residue here.`);
  }

  // Structure

  /** Load Mol* from the address of `viewer.js`; `nonce` is the nonce of the page's policy, if any. */
  function loadViewer(address, nonce = "") {
    const script = element("script", { src: address });
    script.nonce = nonce;
    return new Promise((resolve, reject) => {
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error(`the viewer's file ${address} is missing`)));
      document.head.append(script);
    });
  }

  class StructureView {
    #place;
    #selection;
    #viewer = null;
    #data = null;
    #residues = null;
    #byChain = false;
    #hovers = false;
    #work = Promise.resolve();
    #frame = element("div", { class: "viewport", role: "img" }, element("p", {}, "Preparing the 3D view …"));
    #legend = element("ul", { class: "legend" });
    #buttons = [["pLDDT", "plddt"], ["Chain", "chain"]].map(([label, value]) => {
      const button = element("button", { type: "button", value }, label);
      button.addEventListener("click", () => this.#colorBy(value === "chain"));
      return button;
    });

    constructor(place, { viewer, selection = new Selection(), controls = element("div") }) {
      this.#place = place;
      this.#selection = selection;
      fill(controls, { role: "group", "aria-label": "Colour the structure by" }, this.#buttons);
      controls.classList.add("foldry", "coloring");
      put(place, ...(controls.isConnected ? [] : [controls]), this.#frame, this.#legend);
      place.classList.add("structure-view");
      selection.listen(place, {
        pointed: () => { if (!this.#hovers) this.#act([selection.pointed].filter(each => each !== null), "highlight"); },
        selected: () => this.#look(selection.selected),
      });
      this.#queue(() => viewer().then(() => this.#start()));
    }

    /** Run one task after the other: a quick second click must not mix two structures. */
    #queue(task) {
      this.#place.setAttribute("aria-busy", "true");
      const work = this.#work.then(task).catch(error => this.#fail(error)).then(() => {
        if (work === this.#work) this.#place.removeAttribute("aria-busy");
        return this.#viewer;
      });
      this.#work = work;
      return work;
    }

    #fail(error) {
      this.#viewer = null;
      const reason = `The structure cannot be shown here: ${error.message}. Open its ModelCIF file in any molecular viewer.`;
      this.#frame.replaceChildren(element("p", {}, reason));
    }

    async #start() {
      if (molstar.style) {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(molstar.style);
        document.adoptedStyleSheets.push(sheet);
        delete molstar.style;
      }
      const viewer = await molstar.Viewer.create(this.#frame, {
        extensions: ["ma-quality-assessment"],
        layoutIsExpanded: false,
        layoutShowControls: false,
        viewportBackgroundColor: "#ffffff",
        volumeStreamingDisabled: true,
      });
      if (!viewer.plugin.canvas3d) throw new Error("this browser has no WebGL");
      viewer.plugin.canvas3d.setProps({ camera: { helper: { axes: { name: "off", params: {} } } } });
      viewer.plugin.behaviors.interaction.hover.subscribe(({ current }) => this.#hover(current.loci));
      this.#viewer = viewer;
    }

    /** Share the residue under the pointer. */
    #hover(loci) {
      const { StructureElement: { Loci }, StructureProperties: { chain, residue } } = molstar.lib.structure;
      const at = Loci.is(loci) ? Loci.getFirstLocation(loci) : undefined;
      if (!at && !this.#hovers) return;
      this.#hovers = Boolean(at);
      this.#selection.point(
        at ? this.#residues.indexOf(chain.label_asym_id(at), residue.label_seq_id(at)) : null);
    }

    #act(indices, ...action) {
      this.#viewer?.structureInteractivity({ action });
      if (!indices.length) return;
      this.#viewer?.structureInteractivity({ elements: { items: indices.map(this.#residues.inModel) }, action });
    }

    /** Move the camera to some residues and mark them. */
    #look(indices) {
      if (indices.length) this.#frame.scrollIntoView({ block: "center" });
      this.#act(indices, "select", "focus");
    }

    show(data) {
      this.#data = data;
      this.#residues = layOut(data.chains);
      this.#describe();
      return this.#queue(() => this.#load(data));
    }

    async #load({ model }) {
      if (!this.#viewer) return;
      const { plugin } = this.#viewer;
      await plugin.clear();
      await this.#viewer.loadStructureFromData(model, "mmcif");
      await this.#color();
      const { center, radius } = plugin.managers.structure.hierarchy.current.structures[0].cell.obj.data.boundary.sphere;
      plugin.canvas3d.commit(true);
      plugin.managers.camera.orientAxes(undefined, 0);
      for (let frames = 0; frames < 2; frames++) await new Promise(requestAnimationFrame);
      // The sphere is too large for a flat structure that faces the viewer.
      plugin.managers.camera.focusSphere({ center, radius: 0.9 * radius }, { durationMs: 0, extraRadius: 0 });
    }

    #describe() {
      const by = this.#byChain ? "chain" : "pLDDT";
      this.#frame.setAttribute("aria-label",
        `3D structure of ${this.#data.name}, coloured by ${by}. Drag to turn, scroll or pinch to zoom.`);
      this.#legend.setAttribute("aria-label", this.#byChain ? "Colours of the chains" : "Colours of pLDDT");
      const entries = this.#byChain
        ? this.#residues.chains.map(({ color, id }) => [color, `Chain ${id}`])
        : CATEGORIES.map(({ color, label, range }) => [color, `${label} (${range})`]);
      this.#legend.replaceChildren(...entries.map(([color, label]) => {
        const patch = element("span");
        patch.style.background = color;
        return element("li", {}, patch, label);
      }));
      this.#buttons[0].parentElement.hidden = !this.#residues.several;
      for (const button of this.#buttons) {
        button.setAttribute("aria-pressed", String((button.value === "chain") === this.#byChain));
      }
    }

    #colorBy(byChain) {
      this.#byChain = byChain;
      this.#describe();
      this.#queue(() => this.#color());
    }

    async #color() {
      if (!this.#viewer) return;
      const { hierarchy, component } = this.#viewer.plugin.managers.structure;
      const colors = CHAIN_COLORS.map(color => parseInt(color.slice(1), 16));
      const palette = { name: "colors", params: { list: { kind: "set", colors } } };
      await component.updateRepresentationsTheme(
        hierarchy.current.structures.flatMap(each => each.components),
        this.#byChain
          ? { color: "chain-id", colorParams: { asymId: "label", palette } }
          : { color: "plddt-confidence" });
    }
  }

  const views = new WeakMap();

  /**
   * Show a structure in 3D.
   *
   * Data: `chains`; `name`, the name of the structure; `model`, its ModelCIF text.
   *
   * Options: `viewer`, a function whose promise resolves when the global `molstar` exists, such as
   * `() => loadViewer("/viewer.js")`; `controls`, an element of the page for the buttons that choose the
   * colours, by default inside the component.
   *
   * Returns a promise of the Mol* viewer once it shows the structure, or of null if it cannot; until then
   * the place is `aria-busy`.
   */
  function structureView(place, data, options) {
    if (!views.has(place)) views.set(place, new StructureView(place, options));
    return views.get(place).show(data);
  }

  return {
    Selection, chainTable, contactTable, coveragePlot, dataTable, element, fixed, interfaceTable, loadViewer,
    paePlot, plddtTrack, structureView,
  };
})();
