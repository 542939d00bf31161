// The board beyond what HTML can say: drag and drop, keys, the dialog, and staying where the user is.
"use strict";

const find = (selector, within = document) => within.querySelector(selector);
const columns = () => [...document.querySelectorAll(".column")];
const cards = (column) => [...column.querySelectorAll("li a")];
const focused = () => document.activeElement?.closest("#board li a");

let dragged = null;
let position = null; // of the focused card, for when the board is replaced

function announce(text) {
  find("#status").textContent = text;
}

function ask(method, path, values = {}) {
  const filters = Object.fromEntries(new FormData(find("#filters")));
  return htmx.ajax(method, path, { target: "#board", swap: "outerHTML", values: { ...filters, ...values } });
}

const told = () => {}; // what fails is told by the events of htmx

function move(card, column) {
  const name = find("h2", column).firstChild.textContent.trim();
  ask("POST", `${card.getAttribute("href")}/move`, { state: column.dataset.state }).then(() => {
    announce(document.body.dataset.moved.replace("{state}", name));
  }, told);
}

// Where days begin and end.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
document.cookie = `fastzero-zone=${zone}; path=/; max-age=31536000; samesite=lax`;

// -- changes of other windows --

let behind = false; // the board changed while it must not be replaced

function refresh() {
  behind = Boolean(dragged || find("#dialog")?.open);
  if (behind) return;
  const problem = find("#problem");
  if (problem.textContent === document.body.dataset.offline) problem.textContent = "";
  ask("GET", "/board").catch(told);
}

function watch() {
  const source = new EventSource("/board/events");
  source.addEventListener("changed", refresh);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(watch, 5000);
  });
}

document.addEventListener("DOMContentLoaded", () => find("#board") && watch());

// -- the dialog --

document.addEventListener("click", (event) => {
  const card = event.target.closest("#board li a");
  if (card && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    remember(card);
    htmx.ajax("GET", card.getAttribute("href"), { target: "#dialog", swap: "innerHTML" });
  } else if (event.target.closest("#dialog [data-close]")) {
    event.preventDefault();
    find("#dialog").close();
  }
});

document.addEventListener("saved", () => {
  find("#dialog")?.close();
  find("#new")?.reset();
  find("#problem").textContent = "";
});

// -- staying where the user is --

function remember(card) {
  const column = card.closest(".column");
  position = { id: card.id, column: columns().indexOf(column), row: cards(column).indexOf(card) };
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const card = focused();
  if (event.detail.target.id === "board" && card) remember(card);
});

document.addEventListener("htmx:afterSwap", (event) => {
  const target = event.detail.target;
  if (target.id === "dialog") {
    target.showModal();
  } else if (target.id === "board" && position && document.activeElement === document.body) {
    const near = cards(columns()[position.column]);
    (document.getElementById(position.id) ?? near[Math.min(position.row, near.length - 1)])?.focus();
  }
});

document.addEventListener(
  "close",
  () => {
    if (position) document.getElementById(position.id)?.focus();
    if (behind) refresh();
  },
  true,
);

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
    ask("POST", event.shiftKey ? "/board/redo" : "/board/undo").catch(told);
    return;
  }
  const card = focused();
  const key = event.key;
  if (key === "/") find("#search").focus();
  else if (key === "n") find("#new-title").focus();
  else if (key.startsWith("Arrow")) go(card, key.slice(5), event.shiftKey);
  else if (key === "Delete" && card) ask("POST", `${card.getAttribute("href")}/move`, { state: "trash" }).catch(told);
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
    cards(all[column])[row + (direction === "Down" ? 1 : -1)]?.focus();
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

document.addEventListener("dragstart", (event) => {
  dragged = event.target.closest("#board li");
  dragged?.classList.add("dragged");
  event.dataTransfer.effectAllowed = "move";
});

document.addEventListener("dragend", () => {
  dragged?.classList.remove("dragged");
  dragged = null;
  if (behind) refresh();
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
  if (column !== dragged.closest(".column")) move(find("a", dragged), column);
});
