// Keeps the page true: fetches it anew when the server says that something has changed, and says so when the server says nothing.
"use strict";
(() => {
  const quiet = 12000; // ms without news after which what is shown is no evidence
  let last = Date.now(), busy = false, again = false;
  const stale = document.getElementById("stale");

  const swap = (fresh) => {
    for (const now of fresh.querySelectorAll("[data-live]")) {
      const old = document.getElementById(now.id);
      if (!old) { location.reload(); return; }
      for (const d of old.querySelectorAll("details[open]")) {
        const same = d.id && now.querySelector("#" + CSS.escape(d.id));
        if (same) same.open = true;
      }
      if (old.outerHTML === now.outerHTML) continue;
      const focus = old.contains(document.activeElement);
      old.replaceWith(now);
      if (focus) { now.tabIndex = -1; now.focus({preventScroll: true}); }
    }
    if (document.title !== fresh.title) {
      document.title = fresh.title;
      document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
      document.getElementById("announce").textContent = fresh.querySelector("#verdict h1").textContent;
    }
  };

  const load = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const r = await fetch("/", {cache: "no-store", signal: AbortSignal.timeout(8000)});
      if (r.redirected) { location.href = "/login"; return; }
      if (!r.ok) return;
      swap(new DOMParser().parseFromString(await r.text(), "text/html"));
      last = Date.now();
      stale.hidden = true;
      document.body.classList.remove("old");
    } catch { /* told by the watch below */ } finally {
      busy = false;
      if (again) { again = false; load(); }
    }
  };

  const open = () => {
    const e = new EventSource("/events");
    e.addEventListener("change", load);
    e.onerror = () => { if (e.readyState === EventSource.CLOSED) setTimeout(() => { load(); open(); }, 5000); };
  };
  open();

  setInterval(() => {
    if (Date.now() - last < quiet || !stale.hidden) return;
    document.getElementById("stale-since").textContent = new Date(last).toLocaleTimeString();
    stale.hidden = false;
    document.body.classList.add("old");
  }, 1000);
})();
