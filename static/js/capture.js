// Upload photographs one by one with progress. Without this file the forms post as they are.
"use strict";

(() => {
  document.documentElement.classList.add("js");

  // Refusals that have nothing to do with the photograph itself.
  const AGAIN = new Set(["quota_reached", "connection_lost"]);
  const queue = [];
  let busy = false;
  let signedOut = false;

  const zone = () => document.getElementById("drop-zone");

  document.addEventListener("change", (event) => {
    const input = event.target;
    if (!input.matches("#files, .slot-input") || !input.files.length) return;
    enqueue(input.form, input.files);
    input.value = "";
  });

  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      if (!zone() || !event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      zone().classList.add("drop-zone-over");
    });
  }

  document.addEventListener("dragleave", (event) => {
    if (zone() && !event.relatedTarget) zone().classList.remove("drop-zone-over");
  });

  document.addEventListener("drop", (event) => {
    if (!zone() || !event.dataTransfer.files.length) return;
    event.preventDefault();
    zone().classList.remove("drop-zone-over");
    const slot = event.target.closest(".slot-empty");
    enqueue(slot || zone(), event.dataTransfer.files);
  });

  window.addEventListener("beforeunload", (event) => {
    if (busy) event.preventDefault();
  });

  // Whoever was signed out signs in again in another tab. Here nothing typed or chosen is lost.
  window.addEventListener("focus", resume);
  document.addEventListener("visibilitychange", resume);

  function enqueue(form, files) {
    for (const file of files) queue.push({ form, file, row: uploadRow(file) });
    if (!busy) next();
  }

  function uploadRow(file) {
    const row = document.createElement("li");
    const name = document.createElement("span");
    const bar = document.createElement("progress");
    const words = document.createElement("span");
    row.className = "upload";
    name.className = "upload-name";
    words.className = "upload-words";
    name.textContent = file.name;
    words.textContent = "Waiting";
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute("aria-label", `Upload of ${file.name}`);
    row.append(name, bar, words);
    document.getElementById("uploads").append(row);
    return row;
  }

  function next() {
    const item = queue.shift();
    busy = Boolean(item);
    if (!item) return;
    send(item).then((result) => {
      if (result.sign_in_url) return pause(item, result.sign_in_url);
      if (result.retry_after_s) return wait(item, result.retry_after_s);
      finish(item.row, result);
      if (AGAIN.has(result.code)) offerAgain(item);
      return refresh().finally(next);
    });
  }

  // Keep what waits. Refreshing now would lead the page away to sign-in, with all that is on it.
  function pause(item, signInUrl) {
    const words = item.row.querySelector(".upload-words");
    const link = linkTo(signInUrl, "Sign in in a new tab");
    link.target = "_blank";
    link.rel = "noopener";
    item.row.classList.add("upload-refused");
    words.replaceChildren("You were signed out. ", link, ", then come back: the upload goes on here.");
    show(item.row);
    queue.unshift(item);
    signedOut = true;
  }

  // Too many at once: the photograph stays here and goes on by itself when the time has come.
  function wait(item, seconds) {
    const words = item.row.querySelector(".upload-words");
    const until = Date.now() + 1000 * seconds;
    queue.unshift(item);
    const timer = setInterval(tick, 1000);
    tick();

    function tick() {
      const left = Math.ceil((until - Date.now()) / 1000);
      words.textContent = `Many photographs at once: this one goes on in ${left} s. Keep the page open.`;
      if (left > 0) return;
      clearInterval(timer);
      next();
    }
  }

  // What could not be added keeps its file: nobody has to look for it again.
  function offerAgain(item) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-quiet btn-small";
    button.textContent = "Try again";
    button.addEventListener("click", () => {
      item.row.remove();
      enqueue(document.getElementById("drop-zone") && item.form.isConnected ? item.form : zone(), [item.file]);
    });
    item.row.append(button);
  }

  async function resume() {
    if (!signedOut || document.hidden) return;
    const answer = await fetch(document.getElementById("photographs").dataset.refreshUrl);
    if (answer.redirected || !answer.ok || !signedOut) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const token = fresh.querySelector("[name=csrfmiddlewaretoken]");
    if (!token || !signedOut) return;
    for (const form of [...document.forms, ...queue.map((item) => item.form)]) {
      for (const input of form.querySelectorAll("[name=csrfmiddlewaretoken]")) input.value = token.value;
    }
    signedOut = false;
    queue[0].row.classList.remove("upload-refused");
    next();
  }

  function send({ form, file, row }) {
    const body = new FormData();
    for (const field of form.querySelectorAll("input[type=hidden]")) body.append(field.name, field.value);
    body.append("files", file);
    const request = new XMLHttpRequest();
    const bar = row.querySelector("progress");
    const words = row.querySelector(".upload-words");
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable) return;
      bar.value = event.loaded / event.total;
      words.textContent = event.loaded < event.total ? `${Math.round(100 * bar.value)} %` : "Checking";
    });
    return new Promise((resolve) => {
      request.addEventListener("loadend", () => resolve(outcomeOf(request, form)));
      request.open("POST", form.getAttribute("action"));
      request.setRequestHeader("Accept", "application/json");
      request.send(body);
    });
  }

  function outcomeOf(request, form) {
    if (request.responseURL && new URL(request.responseURL).pathname !== form.getAttribute("action")) {
      return { sign_in_url: request.responseURL };
    }
    try {
      return JSON.parse(request.responseText).results[0];
    } catch {
      const words = request.status === 0
        ? "The connection was lost."
        : "The upload was not accepted. Reload the page and sign in again if you are asked to.";
      return { status: "refused", message: words, code: request.status === 0 ? "connection_lost" : "" };
    }
  }

  function finish(row, result) {
    const words = row.querySelector(".upload-words");
    row.querySelector("progress")?.remove();
    row.classList.add(`upload-${result.status}`);
    words.textContent = result.message || "Added";
    if (result.case_url) words.append(" ", linkTo(result.case_url, "Open that case"));
    if (result.status === "refused") show(row);
    if (result.status === "added") setTimeout(() => row.remove(), 4000);
  }

  // On a telephone the list of uploads is far above the place where the file was chosen.
  function show(row) {
    row.scrollIntoView({ block: "nearest", behavior: "instant" });
  }

  function linkTo(url, name) {
    const link = document.createElement("a");
    link.href = url;
    link.textContent = name;
    return link;
  }

  function refresh() {
    const photographs = document.getElementById("photographs");
    return window.htmx.ajax("GET", photographs.dataset.refreshUrl, { target: "#photographs", swap: "outerHTML" });
  }
})();
