/** Draw the coverage of the alignment of one chain. */
async function draw(place) {
  const { id, sequence, coverage } = data[place.dataset.chain];
  const cells = await unpackBytes(coverage.cells);
  foldry.coveragePlot(place, { chains: [{ id, sequence }], coverage: { ...coverage, cells } });
}

Promise.all([...document.querySelectorAll(".coverage")].map(draw))
  .then(() => { document.body.dataset.ready = "true"; });
