"use strict";

const table = document.querySelector("#pairs");
const body = table.tBodies[0];
const heads = [...table.tHead.rows[0].cells];
const search = document.querySelector("#search");
const told = document.querySelector("#told");

/** What a cell sorts by: a number, null where there is none, or text. */
function key(row, column) {
  const cell = row.cells[column];
  if (!("value" in cell.dataset)) return cell.textContent;
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function compare(a, b) {
  return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
}

/** Sorts by a column, the other way round the second time; what has no number stays last. */
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
  told.textContent = `By ${head.textContent}, ${order}.`;
}

/** Shows the pairs whose name or state has the text. */
function find(text) {
  const wanted = text.trim().toLowerCase();
  let count = 0;
  for (const row of body.rows) {
    const there = `${row.cells[0].textContent} ${row.lastElementChild.textContent}`;
    row.hidden = !there.toLowerCase().includes(wanted);
    count += !row.hidden;
  }
  told.textContent = `${count} of ${body.rows.length} pairs.`;
}

heads.forEach((head, column) =>
  head.firstElementChild.addEventListener("click", () => sort(column)));
search.firstElementChild.addEventListener("input", event => find(event.target.value));
search.hidden = false;
document.body.dataset.ready = "true";
