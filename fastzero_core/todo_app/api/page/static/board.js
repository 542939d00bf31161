// The board beyond what HTML can say: drag and drop, keys, the dialog, and staying where the user is.
"use strict";

const find = (selector, within = document) => within.querySelector(selector);
const columns = () => [...document.querySelectorAll(".column")];
const cards = (column) => [...column.querySelectorAll("li a")];
const isFixed = () => find("#board").hasAttribute("data-fixed");
const focused = () => document.activeElement?.closest("#board li a");

let dragged = null;
let held = false; // whether a card is under a pressed button: it may be about to be dragged
let saying = ""; // what to announce once a change is saved
let fixed; // whether the page was made for a user who may only read this list
let position = null; // of the focused card, for when the board is replaced

function ask(method, path, values = {}) {
  if (method === "POST" && isFixed()) return;
  const filters = Object.fromEntries(new FormData(find("#filters")));
  return htmx.ajax(method, path, { target: "#board", swap: "outerHTML", values: { ...filters, ...values } });
}

const address = (card) => new URL(card.href).pathname;

// `beside` is where in the column: { before: card } or { after: card }.
function move(card, column, beside = {}) {
  const name = find("h2", column).firstChild.textContent.trim();
  saying = document.body.dataset.moved.replace("{state}", name);
  const ids = Object.fromEntries(Object.entries(beside).map(([side, other]) => [side, other.id.slice(1)]));
  ask("POST", `${address(card)}/move`, { state: column.dataset.state, ...ids });
}

// Where days begin and end.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
document.cookie = `fastzero-zone=${zone}; path=/; max-age=31536000; samesite=lax`;

// -- changes of other windows --

let behind = false; // the board changed while it must not be replaced

function refresh() {
  behind = Boolean(dragged || held || find("#dialog")?.open);
  if (behind) return;
  const problem = find("#problem");
  if (problem.textContent === document.body.dataset.offline) problem.textContent = "";
  ask("GET", "/board");
}

function watch() {
  const source = new EventSource(`/board/events?${new URLSearchParams({ list: find("#filters [name=list]").value })}`);
  source.addEventListener("changed", refresh);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(watch, 5000);
  });
}

document.addEventListener("DOMContentLoaded", () => {
  if (!find("#board")) return;
  fixed = isFixed();
  watch();
});

// The forms are around the board, which alone is replaced when the user gets another role.
document.addEventListener("htmx:afterSwap", () => {
  if (find("#board") && isFixed() !== fixed) location.reload();
});

// -- the dialog --

document.addEventListener("click", (event) => {
  const link = event.target.closest("#board li a, [data-dialog]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    position = null;
    if (link.closest("#board")) remember(link);
    htmx.ajax("GET", link.getAttribute("href"), { target: "#dialog-content", swap: "innerHTML" });
  } else if (event.target.closest("#dialog [data-close]")) {
    event.preventDefault();
    find("#dialog").close();
  }
});

document.addEventListener("saved", (event) => {
  find("#status").textContent = saying;
  saying = "";
  find("#dialog")?.close();
  if (event.target.id === "new") event.target.reset();
  find("#problem").textContent = "";
});

// -- staying where the user is --

function remember(card) {
  const column = card.closest(".column");
  position = { id: card.id, column: columns().indexOf(column), row: cards(column).indexOf(card) };
}

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "board") return;
  if (dragged || held) {
    event.detail.shouldSwap = false;
    behind = true;
    return;
  }
  const card = focused();
  if (card) remember(card);
});

// Not before htmx has taken over the forms: the browser itself would send them, and load the page again.
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target.id !== "dialog-content") return;
  const dialog = find("#dialog");
  if (!dialog.open) dialog.showModal();
  else if (document.activeElement === document.body) find("#dialog-title").focus(); // what had the focus is gone
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id !== "board" || !position || document.activeElement !== document.body) return;
  const near = cards(columns()[position.column]);
  (document.getElementById(position.id) ?? near[Math.min(position.row, near.length - 1)])?.focus();
});

document.addEventListener(
  "close",
  () => {
    // This event comes late: the user may have gone on to another card already.
    if (position && !focused()) document.getElementById(position.id)?.focus();
    for (const told of ["#dialog-problem", "#dialog-status"]) find(told).textContent = "";
    if (behind) refresh();
  },
  true,
);

document.addEventListener("htmx:responseError", () => (saying = ""));

// Events of htmx tell what failed. It also rejects a promise, without a reason, which nobody can have of a queued request.
window.addEventListener("unhandledrejection", (event) => event.reason === undefined && event.preventDefault());

for (const failure of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(failure, () => {
    find("#problem").textContent = document.body.dataset.offline;
  });
}

// -- keys --

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.target.matches("input, textarea, select")) return;
  if (find("#dialog")?.open || !find("#board")) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    ask("POST", event.shiftKey ? "/board/redo" : "/board/undo");
    return;
  }
  const card = focused();
  const key = event.key;
  if (key === "/") find("#search").focus();
  else if (key === "n") find("#new-title").focus();
  else if (key.startsWith("Arrow")) go(card, key.slice(5), event.shiftKey);
  else if (key === "Delete" && card) ask("POST", `${address(card)}/move`, { state: "trash" });
  else return;
  event.preventDefault();
});

function go(card, direction, moves) {
  const all = columns();
  if (!card) {
    find("#board li a")?.focus();
    return;
  }
  const column = all.indexOf(card.closest(".column"));
  const row = cards(all[column]).indexOf(card);
  if (direction === "Up" || direction === "Down") {
    const other = cards(all[column])[row + (direction === "Down" ? 1 : -1)];
    if (!moves) other?.focus();
    else if (other) move(card, all[column], { [direction === "Down" ? "after" : "before"]: other });
    return;
  }
  const step = direction === "Right" ? 1 : -1;
  if (moves) {
    if (all[column + step]) move(card, all[column + step]);
    return;
  }
  for (let next = column + step; all[next]; next += step) {
    const there = cards(all[next]);
    if (there.length) {
      there[Math.min(row, there.length - 1)].focus();
      return;
    }
  }
}

// -- drag and drop --

document.addEventListener("pointerdown", (event) => {
  held = Boolean(event.target.closest("#board li"));
});

function release() {
  held = false;
  if (behind) refresh();
}

document.addEventListener("pointerup", release);
document.addEventListener("pointercancel", () => setTimeout(release, 100)); // a drag may begin with it

document.addEventListener("dragstart", (event) => {
  dragged = event.target.closest("#board li");
  dragged?.classList.add("dragged");
  event.dataTransfer.effectAllowed = "move";
});

document.addEventListener("dragend", () => {
  dragged?.classList.remove("dragged");
  dragged = null;
  release();
  for (const column of columns()) column.classList.remove("over");
});

document.addEventListener("dragover", (event) => {
  const over = event.target.closest?.(".column");
  for (const column of columns()) column.classList.toggle("over", column === over && dragged !== null);
  if (over && dragged) event.preventDefault();
});

document.addEventListener("drop", (event) => {
  const column = event.target.closest?.(".column");
  if (!column || !dragged) return;
  event.preventDefault();
  const over = event.target.closest("li:not(.empty)");
  if (over && over !== dragged) {
    const { top, height } = over.getBoundingClientRect();
    move(find("a", dragged), column, { [event.clientY < top + height / 2 ? "before" : "after"]: find("a", over) });
  } else if (column !== dragged.closest(".column")) {
    move(find("a", dragged), column);
  }
});
