// Keeps an open page true: takes the panels that the server sends and puts them in the place of the old ones.
(() => {
  "use strict";
  const badge = document.getElementById("live");
  const SILENCE = 10000;
  let source = null;
  let silence = 0;
  let again = 0;

  const say = (state, text) => {
    if (badge.dataset.state === state) return;
    badge.dataset.state = state;
    badge.lastElementChild.textContent = text;
  };

  const replace = (fresh) => {
    const old = document.getElementById(fresh.id);
    if (!old) return location.reload();
    const selected = getSelection();
    if (selected && !selected.isCollapsed && old.contains(selected.anchorNode)) return;
    const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    for (const open of old.querySelectorAll("details[open]")) {
      const same = fresh.querySelector("#" + CSS.escape(open.id));
      if (same) same.open = true;
    }
    old.replaceWith(document.adoptNode(fresh));
    if (focused) {
      const link = [...fresh.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused);
      if (link) link.focus({ preventScroll: true });
    }
  };

  const heard = () => {
    say("live", "live");
    clearTimeout(silence);
    silence = setTimeout(lost, SILENCE);
  };

  const lost = () => {
    say("lost", "reconnecting");
    close();
    clearTimeout(again);
    again = setTimeout(open, 1000);
  };

  const close = () => {
    clearTimeout(silence);
    if (source) source.close();
    source = null;
  };

  // A stream that the server refuses does not say why: perhaps the session is over.
  const refused = async () => {
    lost();
    try {
      const answer = await fetch("/", { method: "HEAD", cache: "no-store" });
      if (answer.status === 401) location.reload();
    } catch {
      // Not reachable: it is tried again anyway.
    }
  };

  const open = () => {
    close();
    if (document.hidden) return;
    source = new EventSource("/events");
    source.addEventListener("panels", (event) => {
      heard();
      const page = new DOMParser().parseFromString(event.data, "text/html");
      page.querySelectorAll("[data-panel]").forEach(replace);
    });
    source.onerror = () => {
      if (source && source.readyState === EventSource.CLOSED) refused();
      else say("lost", "reconnecting");
    };
    silence = setTimeout(lost, SILENCE);
  };

  // A browser has few connections to one server: a tab that nobody sees needs none.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
})();
