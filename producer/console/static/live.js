/* Live updates: the page is read again when jobs change. It is quiet while hidden or paused, takes
   nothing from the person at it, and says when what it shows is old. */
"use strict";
(() => {
  const REFRESH_MS_MIN = 2000;
  const REFRESH_MS_MAX = 10000;
  const root = document.documentElement;
  const liveElement = () => document.querySelector("[data-live]");
  const isOfLive = (event) => Boolean(event.detail.elt?.matches?.("[data-live]"));

  // --- the switch -----------------------------------------------------------------------------

  let source = null;
  let isPaused = false;
  let isPressed = false;
  let fault = "";
  let readAt = Date.now();

  const clockText = (at, end) => new Date(at).toISOString().slice(11, end);
  const isBusy = () => {
    // A person who types, selects, presses or has a box checked must not lose it.
    const element = liveElement();
    const active = document.activeElement;
    const typing = active && element && element.contains(active) && active.matches("input, select, textarea");
    const chosen = element && element.querySelector("input:checked, details[open] form");
    return Boolean(typing || chosen || isPressed || !getSelection().isCollapsed);
  };
  const switchState = () => {
    if (isPaused) return [`Paused ${clockText(readAt, 16)}`, "Nothing is read until you switch it on"];
    if (fault || (source && source.readyState !== EventSource.OPEN)) return ["Waiting", "Darkroom does not answer"];
    return isBusy() ? ["Waiting", "Updates wait while you select, type or choose"] : ["Live", ""];
  };
  const showSwitch = () => {
    const [text, title] = switchState();
    for (const button of document.querySelectorAll("[data-live-switch]")) {
      button.setAttribute("aria-pressed", String(!isPaused));
      button.toggleAttribute("data-broken", text === "Waiting");
      button.title = title;
      const label = button.querySelector("[data-live-text]");
      if (label.textContent !== text) label.textContent = text;
    }
  };

  // --- what is old says so ----------------------------------------------------------------------

  const strip = document.querySelector("[data-stale-text]");
  const showFault = (text) => {
    if (text !== fault) {
      fault = text;
      root.toggleAttribute("data-stale", Boolean(text));
      strip.textContent = text && `${text} What you see is of ${clockText(readAt, 19)} UTC. It is read again by itself.`;
    }
    showSwitch();
  };
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!isOfLive(event) || event.detail.xhr.status !== 200) return;
    readAt = Date.now();
    showFault("");
  });
  document.addEventListener("htmx:sendError", (event) => {
    if (isOfLive(event)) showFault("Darkroom does not answer.");
  });
  document.addEventListener("htmx:timeout", (event) => {
    if (isOfLive(event)) showFault("Darkroom does not answer in time.");
  });
  document.addEventListener("htmx:responseError", (event) => {
    const { status, responseText } = event.detail.xhr;
    // The end of the session leads to the login.
    if (!isOfLive(event) || status === 401) return;
    const page = new DOMParser().parseFromString(responseText, "text/html");
    const told = page.querySelector(".error-page .lead")?.textContent.trim();
    showFault(told || `Darkroom answers ${status}.`);
  });

  // --- reading again --------------------------------------------------------------------------

  let isDue = false;
  let refreshedAt = Date.now();
  let timer = null;

  const refresh = () => {
    timer = null;
    const element = liveElement();
    if (!element || isPaused || document.hidden) return;
    showSwitch();
    if (isBusy()) { schedule(); return; }
    isDue = false;
    refreshedAt = Date.now();
    htmx.trigger(element, "refresh");
  };
  const schedule = () => {
    isDue = true;
    if (timer === null) {
      const wait = isBusy() ? REFRESH_MS_MIN : refreshedAt + REFRESH_MS_MIN - Date.now();
      timer = setTimeout(refresh, Math.max(0, wait) + 50);
    }
  };
  // A page about one job names it in data-live-job.
  const concerns = (element, data) => {
    const job = element.dataset.liveJob;
    if (!job) return true;
    const told = JSON.parse(data);
    return told.more || told.jobs.includes(job);
  };
  const stop = () => { if (source) source.close(); source = null; };
  const start = () => {
    const element = liveElement();
    if (!element || source || isPaused || document.hidden) return;
    source = new EventSource(element.dataset.live);
    source.onopen = () => { showSwitch(); };
    source.onerror = () => {
      showSwitch();
      // A refusal, such as the end of the session, ends an EventSource. The page then says why.
      if (source && source.readyState === EventSource.CLOSED) stop();
      schedule();
    };
    source.addEventListener("changes", (event) => {
      if (concerns(element, event.data)) schedule();
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stop(); return; }
    start(); schedule();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-live-switch]")) return;
    isPaused = !isPaused;
    if (isPaused) stop(); else { start(); schedule(); }
    showSwitch();
  });
  for (const [name, is] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
    document.addEventListener(name, () => { isPressed = is; }, true);
  }
  setInterval(() => {
    if (isDue || Date.now() - refreshedAt > REFRESH_MS_MAX) { start(); schedule(); }
  }, 2000);
  document.addEventListener("htmx:afterSettle", showSwitch);
  addEventListener("pagehide", stop);

  // --- an update keeps the focus, and how far tables are scrolled sideways ----------------------

  const FOCUSABLE = "a, button, summary, [tabindex]";
  let focus = null;
  const scrolls = new Map();
  const nameOf = (one) => {
    const names = [one.id, one.getAttribute("href"), one.getAttribute("aria-label"), one.form?.getAttribute("action")];
    return [one.tagName, ...names, names.some(Boolean) ? "" : one.textContent].join("\n");
  };
  const named = (name) => [...document.querySelectorAll(FOCUSABLE)].filter((one) => nameOf(one) === name);
  const framesOf = () => document.querySelectorAll(".table-frame, .life-frame");
  const remember = () => {
    const active = document.activeElement;
    focus = null;
    if (active && active !== document.body) {
      const name = nameOf(active);
      focus = { name, place: named(name).indexOf(active), row: active.closest("tr[id]")?.id };
    }
    scrolls.clear();
    for (const one of framesOf()) scrolls.set(one.getAttribute("aria-label"), one.scrollLeft);
  };
  const giveBack = () => {
    for (const one of framesOf()) {
      const left = scrolls.get(one.getAttribute("aria-label"));
      if (left) one.scrollLeft = left;
    }
    if (!focus || document.activeElement !== document.body) return;
    const row = focus.row && document.getElementById(focus.row);
    const same = named(focus.name)[Math.max(0, focus.place)] || (row && row.querySelector("a"));
    if (same) same.focus({ preventScroll: true });
  };

  // --- what stands on top keeps its height, and a button tells what is new in it ----------------

  const heights = new Map();
  const steady = () => [...document.querySelectorAll("[data-steady]")];
  const news = document.querySelector("[data-news]");
  const heightOf = (element) => element.getBoundingClientRect().height;
  const keepHeights = () => {
    let hidden = null;
    for (const one of steady()) {
      const height = heights.get(one.id);
      if (height === undefined) continue;
      if (Math.abs(heightOf(one) - height) >= 0.5) {
        one.toggleAttribute("data-kept", true);
        one.style.blockSize = `${height}px`;
      }
      const end = one.getBoundingClientRect().bottom;
      hidden = hidden || [...one.children].find((child) => child.getBoundingClientRect().bottom > end + 1);
    }
    if (!news) return;
    news.hidden = !hidden;
    const title = hidden && (hidden.querySelector(".alert-title, strong") || hidden).textContent.trim();
    if (hidden) news.textContent = `Show: ${title}`;
  };
  const releaseHeights = () => {
    for (const one of steady()) { one.removeAttribute("data-kept"); one.style.blockSize = ""; }
    heights.clear();
    if (news) news.hidden = true;
  };
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target !== liveElement()) return;
    remember();
    for (const one of steady()) heights.set(one.id, heightOf(one));
  });
  document.addEventListener("htmx:afterSwap", () => { keepHeights(); giveBack(); });
  document.addEventListener("visibilitychange", () => { if (document.hidden) releaseHeights(); });
  if (news) news.addEventListener("click", () => { releaseHeights(); scrollTo({ top: 0 }); });

  start();
  showSwitch();
})();
