// What every page does beyond htmx: close open menus, and listen for events only while seen.
"use strict";

(() => {
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // A list that is searched while somebody types can't show why it was refused, for instance because
  // they signed in again in another window. The same form, sent as a page, can.
  document.addEventListener("htmx:responseError", (event) => {
    event.target.closest("form[role=search]")?.submit();
  });

  // A browser keeps six connections to one server. Without this, six forgotten tabs that listen
  // for events would leave none for the seventh.
  const sources = new Set();

  window.htmx.createEventSource = (url) => {
    const source = new EventSource(url);
    sources.add(source);
    source.addEventListener("done", () => sources.delete(source));
    // Signed out, shut out, or in another hospital by now: what the page shows must go.
    source.addEventListener("shut", () => location.reload());
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) reloadIfRefused();
    });
    return source;
  };

  // A page that was out of sight when the door closed has not heard of it; its stream is refused.
  async function reloadIfRefused() {
    const asked = { method: "HEAD", redirect: "manual", headers: { "X-Background": "1" } };
    const answer = await fetch(location.href, asked).catch(() => null);
    const refused = answer?.type === "opaqueredirect" || [403, 404].includes(answer?.status);
    if (refused) location.reload();
  }

  document.addEventListener("visibilitychange", () => {
    for (const source of [...sources]) {
      if (document.hidden) {
        source.close();
      } else if (source.readyState === EventSource.CLOSED) {
        // The extension connects again by itself when it hears of an error; the server then sends
        // at once what has changed meanwhile.
        sources.delete(source);
        source.onerror(new Event("error"));
      }
    }
  });
})();
