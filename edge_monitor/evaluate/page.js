
"use strict";
// The form of a listening sheet: keeps the answers in this browser, counts them, writes them as CSV.

const COLUMNS = ["rater", "item", "slot", "rating"];

// RFC 4180
function field(value) {
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

// answers: [{item, slot, rating}], all strings
function toCsv(rater, answers) {
  const rows = answers.map((answer) => COLUMNS.map((name) => (name === "rater" ? rater : answer[name])));
  return [COLUMNS, ...rows].map((row) => row.map(field).join(",") + "\r\n").join("");
}

function fileName(sheet, rater) {
  return `ratings-${sheet}-${rater.replace(/[^\p{L}\p{N}]+/gu, "_")}.csv`;
}

function start() {
  const form = document.getElementById("sheet");
  const rater = form.elements.namedItem("rater");
  const sheet = document.body.dataset.sheet;
  const slots = [...form.querySelectorAll("fieldset[data-slot]")];
  const store = `edge-monitor-listening-${sheet}`;
  const say = (id, text) => { document.getElementById(id).textContent = text; };
  const chosen = (slot) => slot.querySelector("input:checked");
  const answers = () => slots.filter(chosen).map((slot) => ({ ...slot.dataset, rating: chosen(slot).value }));

  function count() {
    slots.forEach((slot) => slot.classList.toggle("rated", chosen(slot) !== null));
    const done = slots.filter(chosen).length;
    document.getElementById("bar").value = done;
    say("progress", `${done} of ${slots.length} captions rated`);
  }

  function keep() {
    count();
    const kept = { rater: rater.value, ratings: answers().map(({ item, slot, rating }) => [item, slot, rating]) };
    try {
      localStorage.setItem(store, JSON.stringify(kept));
    } catch {
      say("note", "This browser keeps no answers: download the CSV before you close this page.");
    }
  }

  function restore() {
    let kept = null;
    try {
      kept = JSON.parse(localStorage.getItem(store));
    } catch {
      say("note", "This browser keeps no answers: download the CSV before you close this page.");
    }
    rater.value = kept?.rater ?? "";
    for (const [item, slot, rating] of kept?.ratings ?? []) {
      const place = slots.find((one) => one.dataset.item === item && one.dataset.slot === slot);
      const input = place?.querySelector(`input[value="${rating}"]`);
      if (input) input.checked = true;
    }
    count();
  }

  function next() {
    const slot = slots.find((one) => !chosen(one));
    if (!slot) return say("note", "All captions are rated. Download the CSV and send it.");
    slot.scrollIntoView();
    slot.querySelector("input").focus({ preventScroll: true });
  }

  function clear() {
    if (!confirm("Delete the answers in this browser? A CSV that was downloaded stays.")) return;
    form.reset();
    say("note", "");
    keep();
  }

  function download() {
    if (!form.reportValidity()) return; // it has no name
    const given = answers();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([toCsv(rater.value.trim(), given)], { type: "text/csv" }));
    link.download = fileName(sheet, rater.value.trim());
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    const open = slots.length - given.length;
    say("note", open ? `Downloaded; ${open} captions are not rated yet.` : "Downloaded. Please send the file.");
  }

  form.addEventListener("change", keep);
  form.addEventListener("submit", (event) => event.preventDefault()); // Enter in the name's field
  document.getElementById("download").addEventListener("click", download);
  document.getElementById("next").addEventListener("click", next);
  document.getElementById("clear").addEventListener("click", clear);
  restore();
}

if (typeof document !== "undefined") start();
