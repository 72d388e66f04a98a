/* What pages do in the browser beyond links and forms: theme, copy, keys, ages of times. Pages work
   without it, but for copying. live.js has the live updates. */
"use strict";
(() => {
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
  document.addEventListener("visibilitychange", () => { if (!document.hidden) showAges(); });
  document.addEventListener("htmx:afterSettle", showAges);

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

  // On a phone the navigation is wider than the screen. Tab would begin after an element that was
  // scrolled into view.
  const current = document.querySelector("nav a[aria-current]");
  const bar = current?.closest("nav");
  if (bar) bar.scrollLeft += current.getBoundingClientRect().right - bar.getBoundingClientRect().right;
})();
