// The events of a watcher, on the page of its cluster: each is added as it comes. script.js starts it.
"use strict";

const shownEvents = 100;
let endEvents = () => {}; // of the content that was replaced

function followEvents(list) {
  const path = list.dataset.events.split("?")[0];
  const problem = document.getElementById("events-problem");
  let last = list.firstElementChild?.dataset.id || "";
  let source = null;
  let ended = false;
  function close() {
    source = source?.close() ?? null;
  }
  function open() {
    if (ended || source || document.hidden) return;
    // The browser connects again automatically, and names the last event.
    source = new EventSource(path + (last ? "?after=" + encodeURIComponent(last) : ""));
    source.addEventListener("line", (event) => {
      const line = JSON.parse(event.data);
      if (Array.from(list.children).some((known) => known.dataset.id === line.id)) return;
      last = line.id;
      showEvent(list, line);
    });
    source.addEventListener("ready", () => { problem.hidden = true; });
    source.addEventListener("problem", (event) => {
      const { text, hint } = JSON.parse(event.data);
      problem.textContent = "New events are not shown at the moment: " + text + (hint ? ". Hint: " + hint : "");
      problem.hidden = false;
    });
    source.addEventListener("again", () => { // the newest follow, without those in between
      close();
      last = "";
      list.replaceChildren();
      open();
    });
    source.onerror = retry;
  }
  // retry follows a stream that was refused: too many pages are open, or the server has ended.
  async function retry() {
    if (source?.readyState !== EventSource.CLOSED) return;
    close();
    await pauseFor(10000);
    open();
  }
  function stop() {
    ended = true;
    close();
    document.removeEventListener("visibilitychange", change);
  }
  function change() {
    if (document.hidden) close();
    else open();
  }
  document.addEventListener("visibilitychange", change);
  endEvents = stop;
  open();
}

function showEvent(list, line) {
  const item = document.createElement("li");
  item.dataset.id = line.id;
  for (const [name, text] of [["time", line.time], ["b", line.node], ["span", line.text]]) {
    const part = document.createElement(name);
    part.textContent = text;
    item.append(part, " ");
  }
  list.prepend(item);
  document.getElementById("no-events")?.remove();
  while (list.children.length > shownEvents) list.lastElementChild.remove();
  announceText((line.node ? line.node + ": " : "") + line.text);
}
