// The pages work without this script: it loads the rows of the first page, shows progress as it
// happens, and opens the dialog in place. It sends no form.
"use strict";

const [live, notice] = ["live", "notice"].map((id) => document.getElementById(id));
const atOnce = 4; // a browser opens six connections to a server: links must still work
const triesWithoutAnswer = 5;

const announceText = (text) => { live.textContent = text; };
const pauseFor = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// stopAsking says why this page does not change anymore.
function stopAsking(status) {
  notice.textContent =
    status === 403 ? "The dashboard has been started again, or you are signed out: this page is not renewed anymore. Sign in again, or open the address that the command printed."
    : status === 404 ? "The dashboard does not have this page anymore: it has been started again, or the page is one of the oldest. This page is not renewed anymore."
    : status ? "The dashboard answered with error " + status + ": this page is not renewed anymore. Reload it to try again."
    : "The dashboard does not answer: it has ended. This page is not renewed anymore.";
  notice.hidden = false;
}

// A hidden page asks for nothing.
function whenVisible() {
  return new Promise((resolve) => {
    if (!document.hidden) return resolve();
    document.addEventListener("visibilitychange", function shown() {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", shown);
      resolve();
    });
  });
}

// readText requests a part of the server's pages. A missing answer is tried again a few times.
async function readText(address) {
  for (let tries = 1; ; tries++) {
    try {
      const answer = await fetch(address, { credentials: "same-origin", cache: "no-store", redirect: "error" });
      return { status: answer.status, text: await answer.text() };
    } catch {
      if (tries >= triesWithoutAnswer) return { status: 0, text: "" };
      await pauseFor(2000);
    }
  }
}

// --- The first page: every row is loaded by a request of its own.

async function loadRows(table) {
  const body = table.tBodies[0];
  const queue = Array.from(body.querySelectorAll("tr[data-row]"));
  let stopped = false;
  async function work() {
    while (queue.length > 0 && !stopped) {
      const row = queue.shift();
      row.setAttribute("aria-busy", "true");
      const answer = await readText(row.dataset.row);
      if (stopped) return;
      if (answer.status !== 200) {
        stopped = true;
        row.removeAttribute("aria-busy");
        return stopAsking(answer.status);
      }
      const holder = document.createElement("template");
      holder.innerHTML = answer.text;
      const renewed = holder.content.querySelector("tr");
      const focused = row.contains(document.activeElement);
      row.replaceWith(renewed);
      placeRow(body, renewed);
      if (focused) renewed.querySelector("a").focus();
      if (renewed.dataset.row) { // it is still loading
        renewed.setAttribute("aria-busy", "true");
        queue.push(renewed);
        if (queue.length < atOnce) await pauseFor(500);
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work));
  if (!stopped) announceText("All clusters are loaded.");
}

// placeRow moves a row to where its order puts it.
function placeRow(body, row) {
  for (const other of body.rows) {
    if (other !== row && other.dataset.order > row.dataset.order) {
      if (row.nextElementSibling !== other) body.insertBefore(row, other);
      return;
    }
  }
  if (body.lastElementChild !== row) body.append(row);
}

// --- Pages that are not complete yet ask again, and replace their content.

async function refreshPage() {
  for (;;) {
    const main = document.getElementById("main");
    const wait = Number(main.dataset.again);
    if (!wait) return;
    await pauseFor(wait);
    await whenVisible();
    if (document.querySelector("dialog[open]")) continue;
    if (!(await renewMain())) return;
  }
}

// renewMain replaces the content of the page by what the server has now.
async function renewMain() {
  const answer = await readText(location.pathname + location.search);
  if (answer.status !== 200) {
    stopAsking(answer.status);
    return false;
  }
  const old = document.getElementById("main");
  const focused = old.contains(document.activeElement);
  if (focused && document.activeElement.matches("input, select, textarea")) return true;
  const main = new DOMParser().parseFromString(answer.text, "text/html").getElementById("main");
  const before = old.querySelector("[role=status]");
  old.replaceWith(main);
  if (focused) main.focus();
  const after = main.querySelector("[role=status], h1");
  if (after && (!before || before.textContent !== after.textContent)) announceText(after.textContent);
  preparePage();
  return true;
}

// --- A rotation in progress.

function followRotation(table) {
  let last = Number(new URL(table.dataset.stream, location.href).searchParams.get("after"));
  const path = table.dataset.stream.split("?")[0];
  let source = null;
  let ended = false;
  function close() {
    source = source?.close() ?? null;
  }
  function open() {
    if (ended || source || document.hidden) return;
    source = new EventSource(path + "?after=" + last);
    source.addEventListener("line", (event) => {
      const line = JSON.parse(event.data);
      if (line.id <= last) return;
      last = line.id;
      showLine(table, line);
    });
    for (const name of ["end", "again"]) source.addEventListener(name, finish);
    source.onerror = retry;
  }
  // finish shows the page as the server has it now: the report, or the events that are missing.
  function finish() {
    ended = true;
    close();
    renewMain();
  }
  // retry reads the page again after a pause, and follows from there: the server may have ended,
  // or too many pages are open.
  async function retry() {
    ended = true;
    close();
    await pauseFor(5000);
    await whenVisible();
    await renewMain();
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
}

const shapes = { verified: "healthy", undoing: "attention", undone: "attention", forced: "attention", failed: "expired" };

function showLine(table, line) {
  if (line.node) {
    table.rowOf ||= new Map(Array.from(table.tBodies[0].rows, (known) => [known.dataset.node, known]));
    let row = table.rowOf.get(line.node);
    if (!row) {
      row = table.tBodies[0].insertRow();
      table.rowOf.set(line.node, row);
      row.innerHTML = '<th scope="row"></th><td><span class="state"><svg class="shape" aria-hidden="true"><use/></svg> <span class="word"></span></span></td><td class="text"></td>';
      row.cells[0].textContent = line.node;
    }
    const shape = shapes[line.phase] || "running";
    row.querySelector(".state").className = "state c-" + shape;
    row.querySelector(".shape").setAttribute("class", "shape c-" + shape);
    row.querySelector("use").setAttribute("href", "#shape-" + shape);
    row.querySelector(".word").textContent = line.phase;
    row.querySelector(".text").textContent = line.text;
  }
  if (!line.done) return;
  const item = document.createElement("li");
  for (const [name, text] of [["time", line.time], ["b", line.node || line.phase], ["span", line.text], ["small", line.took || ""]]) {
    const part = document.createElement(name);
    part.textContent = text;
    item.append(part, " ");
  }
  document.getElementById("log").append(item);
  announceText((line.node ? line.node + ": " : "") + line.text);
}

// --- Helpers.

function prepareDialog(link) {
  const dialog = document.getElementById(link.dataset.dialog);
  if (!dialog || !dialog.showModal) return;
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    dialog.showModal();
    dialog.querySelector("h2").focus();
  });
  for (const cancel of dialog.querySelectorAll("[data-close]")) {
    cancel.addEventListener("click", (event) => {
      event.preventDefault();
      dialog.close();
    });
  }
}

// prepareChoice keeps "all services" and single services apart: choosing one chooses "some".
function prepareChoice(form) {
  form.addEventListener("change", (event) => {
    if (event.target.name === "service" && event.target.checked && form.scope) form.scope.value = "some";
    if (event.target.name === "scope" && event.target.value === "all") {
      for (const box of form.querySelectorAll("input[name=service]")) box.checked = false;
    }
  });
}

function prepareCopy(button) {
  if (!navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    announceText("The command is copied.");
  });
}

function preparePage() {
  endEvents();
  document.querySelectorAll("[data-events]").forEach(followEvents);
  document.querySelectorAll("[data-dialog]").forEach(prepareDialog);
  document.querySelectorAll("form.choice").forEach(prepareChoice);
  document.querySelectorAll("[data-copy]").forEach(prepareCopy);
  document.querySelectorAll("table[data-stream]").forEach(followRotation);
  document.querySelectorAll("main form[method=post]").forEach((form) => form.addEventListener("submit", () => {
    setTimeout(() => form.querySelectorAll("button").forEach((button) => { button.disabled = true; }), 0);
  }));
}

preparePage();
refreshPage();
const clusters = document.getElementById("clusters");
if (clusters) loadRows(clusters);
