/* What pages do in the browser beyond links and forms: theme, copy, live updates, keys, ages of
   times. Pages work without it, but for live updates and copying. */
"use strict";
(() => {
  const REFRESH_MS_MIN = 2000;
  const REFRESH_MS_MAX = 10000;
  const root = document.documentElement;

  // --- theme: kept in a cookie, so that the server renders it without a flash -----------------

  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-switch]")) return;
    const shown = root.dataset.theme || (dark.matches ? "dark" : "light");
    const wanted = shown === "dark" ? "light" : "dark";
    root.dataset.theme = wanted;
    document.cookie = `darkroom_theme=${wanted}; path=${root.dataset.path}; max-age=31536000; samesite=lax`;
    document.dispatchEvent(new CustomEvent("themechange"));
  });

  // --- filters: the URL names only those that are set ------------------------------------------

  document.addEventListener("formdata", (event) => {
    if (event.target.method !== "get") return;
    for (const [name, value] of [...event.formData]) {
      if (value === "") event.formData.delete(name);
    }
  });

  // --- copy -----------------------------------------------------------------------------------

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const label = button.querySelector("span");
    try {
      await navigator.clipboard.writeText(button.parentElement.querySelector("pre").innerText);
      label.textContent = "Copied";
    } catch {
      label.textContent = "Select it";
      getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
    }
    setTimeout(() => { label.textContent = "Copy"; }, 2000);
  });

  // --- ages of times --------------------------------------------------------------------------

  const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  const durationText = (seconds) => {
    for (const [size, unit] of UNITS) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
    }
    return seconds >= 1 ? `${Math.round(seconds)} s` : "";
  };
  const showAges = () => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
      const text = durationText(Math.abs(seconds));
      const words = !text ? "now" : seconds > 0 ? `${text} ago` : `in ${text}`;
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(() => { if (!document.hidden) showAges(); }, 5000);

  // --- live updates: quiet while the page is hidden or paused ---------------------------------

  let source = null;
  let isPaused = false;
  let isDue = false;
  let refreshedAt = Date.now();
  let timer = null;

  const liveElement = () => document.querySelector("[data-live]");
  const showSwitch = () => {
    for (const button of document.querySelectorAll("[data-live-switch]")) {
      button.setAttribute("aria-pressed", String(!isPaused));
      const isBroken = !isPaused && source !== null && source.readyState !== EventSource.OPEN;
      button.toggleAttribute("data-broken", isBroken);
      button.querySelector("[data-live-text]").textContent =
        isPaused ? "Paused" : isBroken ? "Waiting" : "Live";
    }
  };
  const isBusy = () => {
    // A person who types, selects or has a box checked must not lose it.
    const element = liveElement();
    const active = document.activeElement;
    const typing = active && element && element.contains(active) && active.matches("input, select, textarea");
    const chosen = element && element.querySelector("input:checked, details[open] form");
    return Boolean(typing || chosen || !getSelection().isCollapsed);
  };
  const refresh = () => {
    timer = null;
    const element = liveElement();
    if (!element || isPaused || document.hidden) return;
    if (isBusy()) { schedule(); return; }
    isDue = false;
    refreshedAt = Date.now();
    htmx.trigger(element, "refresh");
  };
  const schedule = () => {
    isDue = true;
    if (timer === null) {
      timer = setTimeout(refresh, Math.max(0, refreshedAt + REFRESH_MS_MIN - Date.now()) + 50);
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
      if (source && source.readyState === EventSource.CLOSED) { stop(); schedule(); }
    };
    source.addEventListener("changes", (event) => {
      if (concerns(element, event.data)) schedule();
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stop(); return; }
    showAges(); start(); schedule();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-live-switch]")) return;
    isPaused = !isPaused;
    if (isPaused) stop(); else { start(); schedule(); }
    showSwitch();
  });
  setInterval(() => {
    if (isDue || Date.now() - refreshedAt > REFRESH_MS_MAX) { start(); schedule(); }
  }, 2000);
  document.addEventListener("htmx:afterSettle", () => { showAges(); showSwitch(); });
  addEventListener("pagehide", stop);

  // --- what stands on top keeps its height, and a button tells what is new in it ----------------

  const heights = new Map();
  const steady = () => [...document.querySelectorAll("[data-steady]")];
  const news = document.querySelector("[data-news]");
  const heightOf = (element) => element.getBoundingClientRect().height;
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target !== liveElement()) return;
    for (const one of steady()) heights.set(one.id, heightOf(one));
  });
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
  document.addEventListener("htmx:afterSwap", keepHeights);
  document.addEventListener("visibilitychange", () => { if (document.hidden) releaseHeights(); });
  if (news) news.addEventListener("click", () => { releaseHeights(); scrollTo({ top: 0 }); });

  // --- keys: / to the filters, j and k through rows, Enter opens -------------------------------

  const rows = () => [...document.querySelectorAll("tr[data-href]")];
  const move = (step) => {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.hasAttribute("data-current"));
    const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + step))];
    all.forEach((row) => row.toggleAttribute("data-current", row === next));
    (next.querySelector("a") || next).focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/") {
      const first = document.querySelector(".filters input, .filters select");
      if (first) { event.preventDefault(); first.focus(); }
    } else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
  });
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-href]");
    if (!row || event.target.closest("a, button, input, label, summary") || !getSelection().isCollapsed) return;
    if (event.ctrlKey || event.metaKey) window.open(row.dataset.href, "_blank", "noopener");
    else location.assign(row.dataset.href);
  });

  // --- chosen rows: how many, before they are acted on -----------------------------------------

  document.addEventListener("change", (event) => {
    const form = event.target.form;
    const label = form && form.querySelector("[data-chosen]");
    if (!label) return;
    const count = [...form.elements].filter((one) => one.checked).length;
    label.dataset.none = label.dataset.none || label.textContent;
    label.textContent = count ? `${count} selected:` : label.dataset.none;
  });

  // Images that a host no longer has are replaced by their place.
  document.addEventListener("error", (event) => {
    if (event.target.matches && event.target.matches("img[data-thumb]")) event.target.setAttribute("data-gone", "");
  }, true);

  // On a phone the navigation is wider than the screen.
  const current = document.querySelector("nav a[aria-current]");
  if (current) current.scrollIntoView({ block: "nearest", inline: "nearest" });

  start();
  showSwitch();
})();
