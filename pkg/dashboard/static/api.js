// Sends the requests of the page "View in API" and shows their answers. Without it, the page shows
// the requests, and GET requests are links.
"use strict";

const mostShown = 200000; // characters; more would make the page slow

async function sendRequest(form) {
  const button = form.querySelector("button");
  const body = form.querySelector("textarea");
  const answer = form.querySelector(".answer");
  const [line, text] = answer.children;
  button.disabled = true;
  line.textContent = "Waiting for the answer …";
  text.textContent = "";
  answer.hidden = false;
  const request = { method: form.dataset.method, credentials: "same-origin", cache: "no-store", redirect: "error" };
  if (body) {
    request.body = body.value;
    request.headers = { "Content-Type": "application/json" };
  }
  try {
    const response = await fetch(form.dataset.send, request);
    const whole = await response.text();
    line.textContent = response.status + " " + response.statusText;
    text.textContent = whole.length > mostShown ? whole.slice(0, mostShown) + "\n… " + (whole.length - mostShown) + " more characters" : whole;
  } catch {
    line.textContent = "No answer: the dashboard has ended, or the request was interrupted.";
  }
  button.disabled = false;
  answer.focus();
}

for (const form of document.querySelectorAll("form[data-send]")) {
  form.querySelector("button").hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sendRequest(form);
  });
}
