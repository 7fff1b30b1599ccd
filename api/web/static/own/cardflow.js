// What HTML cannot say by itself. Every page works without this file.
"use strict";

// A form that is on its way is not sent twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  form.setAttribute("aria-busy", "true");
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    form.removeAttribute("aria-busy");
  }
});

// After a refusal the reader starts at the reason.
document.getElementById("problem")?.focus();

// Printing is the browser's.
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-print]")) window.print();
});

// A link that looks like a button is pressed like one.
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || !event.target.matches?.('a[role="button"]')) return;
  event.preventDefault();
  event.target.click();
});

// A file that would be refused for its size need not travel first.
document.addEventListener("change", (event) => {
  const limit = Number(event.target.dataset?.limit);
  if (!limit) return;
  const isTooLarge = [...event.target.files].some((file) => file.size > limit);
  event.target.setCustomValidity(isTooLarge ? event.target.dataset.tooLarge : "");
  event.target.reportValidity();
});

// A long export tells how far it is; without this it is a plain download.
document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("[data-export]");
  if (!link) return;
  event.preventDefault();
  const answer = await fetch(link.href);
  if (!answer.ok) return location.assign(link.href);
  const said = document.getElementById("exported");
  const parts = [];
  let rows = -1; // the first line names the columns
  const reader = answer.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    for (const byte of part.value) rows += byte === 10;
    said.textContent = link.dataset.export.replace("{n}", rows.toLocaleString(document.documentElement.lang));
  }
  const file = document.createElement("a");
  file.href = URL.createObjectURL(new Blob(parts, { type: "text/csv" }));
  file.download = link.download;
  file.click();
  setTimeout(() => URL.revokeObjectURL(file.href), 60_000);
});
// Long work tells how far it is: the same form, answered line by line.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-progress]")) return;
  event.preventDefault();
  carryOut(event.target, event.submitter);
});

async function carryOut(form, button) {
  const bar = form.querySelector("progress");
  bar.parentElement.hidden = false;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form, button)),
      headers: { Accept: "application/jsonl" },
    });
    // A refusal is a page: the form goes again as forms do, and shows it.
    if (!answer.ok) {
      if (button?.name) form.append(Object.assign(document.createElement("input"), { type: "hidden", name: button.name, value: button.value }));
      return form.submit();
    }
    for await (const told of linesOf(answer.body)) show(form, bar, told);
  } catch {
    form.querySelector("[data-told]").textContent = form.dataset.failed;
    delete form.dataset.sent;
    form.removeAttribute("aria-busy");
  }
}

async function* linesOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line);
  }
}

function show(form, bar, told) {
  if (told.go) return void location.replace(told.go);
  bar.max = told.of || 1;
  bar.value = told.done;
  const numbers = new Intl.NumberFormat(document.documentElement.lang);
  form.querySelector("[data-told]").textContent =
    `${numbers.format(told.done)} / ${numbers.format(told.of)}`;
}

for (const form of document.querySelectorAll("form[data-auto]")) form.requestSubmit();
