"use strict";

const table = document.querySelector("#pairs");
const body = table.tBodies[0];
const heads = [...table.tHead.rows[0].cells];
const search = document.querySelector("#search");
const status = document.querySelector("#status");

/** Return the sort key of a cell: a number, null if it has none, or text. */
function key(row, column) {
  const cell = row.cells[column];
  if (!("value" in cell.dataset)) return cell.textContent;
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function compare(a, b) {
  return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
}

/** Sort by a column, or reverse its order; cells without a number stay last. */
function sort(column) {
  const head = heads[column];
  const other = { ascending: "descending", descending: "ascending" };
  const order = other[head.getAttribute("aria-sort")] ?? head.dataset.first;
  const sign = order === "ascending" ? 1 : -1;
  const keyed = [...body.rows].map(row => [key(row, column), row]);
  keyed.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b));
  body.append(...keyed.map(([, row]) => row));
  for (const each of heads) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  status.textContent = `Sorted by ${head.textContent}, ${order}.`;
}

/** Show the pairs whose name or state contains the text. */
function find(text) {
  const wanted = text.trim().toLowerCase();
  let count = 0;
  for (const row of body.rows) {
    const there = `${row.cells[0].textContent} ${row.lastElementChild.textContent}`;
    row.hidden = !there.toLowerCase().includes(wanted);
    count += !row.hidden;
  }
  status.textContent = `Pairs shown: ${count} of ${body.rows.length}.`;
}

heads.forEach((head, column) =>
  head.firstElementChild.addEventListener("click", () => sort(column)));
search.firstElementChild.addEventListener("input", event => find(event.target.value));
search.hidden = false;
document.body.dataset.ready = "true";
