/* Draws the plots. `ui.plot` has its own data: data-plot is {"times": [seconds], "series": [{"label",
   "values", "tone", "steps"}], "unit"}. Plots of a history share the data of the part around them:
   data-plots is {"begin", "end", "step", "plots": {name: {"series", "unit"}}}, read again from
   data-plots-source. In values, null is a gap, and "" is a point without a value, which a line goes
   through. Tones are 1 to 4, or a colour of console.css such as good, bad, warn, busy. */
"use strict";
(() => {
  const REFRESH_MS = 15000;
  const EMPTY_TEXT = "No history yet: it is recorded while a worker runs.";
  const drawn = new Map();
  const shared = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const toneColour = (tone, index) => colour(/^[1-4]$/.test(tone || "") ? `plot-${tone}` : tone || `plot-${(index % 4) + 1}`);
  const decimals = (value, most) => new Intl.NumberFormat("en", { maximumFractionDigits: value % 1 && Math.abs(value) < 100 ? most : 0 }).format(value);
  const duration = (seconds) => {
    if (seconds && Math.abs(seconds) < 1) return `${Math.round(seconds * 1000)} ms`;
    if (Math.abs(seconds) < 120) return `${decimals(seconds, 1)} s`;
    return Math.abs(seconds) < 7200 ? `${decimals(seconds / 60, 1)} min` : `${decimals(seconds / 3600, 1)} h`;
  };
  const number = (value, unit) => {
    if (value === null || value === undefined) return "\u2013";
    if (unit === "s") return duration(value);
    const text = Math.abs(value) >= 10000
      ? new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value)
      : decimals(value, 2);
    return unit ? `${text} ${unit}` : text;
  };

  // --- data: of one plot alone, or shared by the plots of a history ---------------------------

  const withoutValue = (value) => (value === "" ? undefined : value);
  const share = (group, data) => {
    const length = Math.max(0, ...Object.values(data.plots).map((plot) => plot.series[0].values.length));
    const times = Array.from({ length }, (_, place) => data.begin + place * data.step);
    shared.set(group, { ...data, times });
  };
  const dataOf = (element) => {
    if (element.dataset.plot) return JSON.parse(element.dataset.plot);
    const group = element.closest("[data-plots]");
    if (!shared.has(group)) share(group, JSON.parse(group.dataset.plots));
    const all = shared.get(group);
    const plot = all.plots[element.dataset.plotName] || { series: [], unit: "" };
    const series = plot.series.map((one) => ({ ...one, values: one.values.map(withoutValue) }));
    return { times: all.times, series, unit: plot.unit, range: [all.begin, all.end] };
  };
  const columns = (data) => [data.times, ...data.series.map((one) => one.values)];
  const isEmpty = (data) => data.series.every((one) => one.values.every((value) => value === null));

  // A value between two gaps is no line, so it is drawn as a point.
  const alone = (plot, index) => {
    const values = plot.data[index];
    const hasNeighbour = (place, step) => {
      for (let at = place + step; at >= 0 && at < values.length; at += step) {
        if (values[at] === null) return false;
        if (values[at] !== undefined) return true;
      }
      return false;
    };
    const found = [];
    for (let at = 0; at < values.length; at += 1) {
      const isValue = values[at] !== null && values[at] !== undefined;
      if (isValue && !hasNeighbour(at, -1) && !hasNeighbour(at, 1)) found.push(at);
    }
    return found;
  };

  // While nobody points at a time, the legend has the newest values.
  const showNewest = (plot) => {
    if (plot.legend.idx === null || plot.legend.idx === undefined) plot.setLegend({ idx: plot.data[0].length - 1 });
  };
  const HOUR = 3600, DAY = 86400;
  const timeText = (at, step) => {
    const iso = new Date(at * 1000).toISOString();
    return step >= DAY ? iso.slice(5, 10) : step >= HOUR / 60 ? iso.slice(11, 16) : iso.slice(11, 19);
  };
  const momentText = (at, times) => {
    const iso = new Date(at * 1000).toISOString();
    const span = times[times.length - 1] - times[0];
    return span > 2 * DAY ? iso.slice(0, 16).replace("T", " ") : iso.slice(11, span > 2 * HOUR ? 16 : 19);
  };

  // --- drawing --------------------------------------------------------------------------------

  const remove = (element) => {
    drawn.get(element)?.destroy();
    drawn.delete(element);
  };
  const showEmpty = (element) => {
    const text = document.createElement("p");
    text.textContent = EMPTY_TEXT;
    element.replaceChildren(text);
    element.classList.add("plot-empty");
  };
  const draw = (element) => {
    remove(element);
    const data = dataOf(element);
    if (!data.times.length || isEmpty(data)) { showEmpty(element); return; }
    element.classList.remove("plot-empty");
    element.replaceChildren();
    const text = colour("text-2"), grid = colour("plot-grid");
    const legendHeight = data.series.length > 1 ? 28 : 24;
    const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const isShared = Boolean(element.dataset.plotName);
    const plot = new uPlot({
      width: Math.max(120, element.clientWidth),
      height: element.clientHeight - legendHeight,
      padding: [10, 20, 0, 0],
      hooks: { setLegend: [showNewest] },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: { y: false, points: { size: 6 }, ...(isShared ? { sync: { key: "history" } } : {}) },
      scales: {
        ...(isShared ? { x: { range: () => dataOf(element).range } } : {}),
        y: { range: (_, low, high) => [Math.min(0, low || 0), high > 0 ? high * 1.1 : 1] },
      },
      axes: [
        { ...axis, space: 60, size: 26, values: (_, all, _axis, _space, step) => all.map((at) => timeText(at, step)) },
        { ...axis, space: 28, size: 56, values: (_, all) => all.map((one) => number(one, data.unit === "s" ? "s" : "")) },
      ],
      legend: { show: true, live: true },
      series: [
        { label: "UTC", value: (self, at) => (at ? momentText(at, self.data[0]) : "\u2013") },
        ...data.series.map((one, index) => ({
          label: one.label,
          stroke: toneColour(one.tone, index),
          width: 1.75,
          spanGaps: false,
          points: { show: true, size: 5, filter: (self, place) => alone(self, place) },
          paths: one.steps ? uPlot.paths.stepped({ align: 1 }) : undefined,
          value: (_, value) => number(value, data.unit),
        })),
      ],
    }, columns(data), element);
    drawn.set(element, plot);
    showNewest(plot);
  };
  const drawAll = (isNeeded = () => true) => {
    for (const element of [...drawn.keys()]) {
      if (!element.isConnected) remove(element);
    }
    for (const element of document.querySelectorAll("[data-plot], [data-plot-name]")) {
      if (isNeeded(element)) draw(element);
    }
  };

  // --- reading again: quiet while the page is hidden or paused --------------------------------

  const isPaused = () => document.querySelector("[data-live-switch]")?.getAttribute("aria-pressed") === "false";
  const read = async (group) => {
    try {
      const response = await fetch(group.dataset.plotsSource, { headers: { Accept: "application/json" }, redirect: "error" });
      if (!response.ok) return;
      share(group, await response.json());
    } catch {
      // The server is away, or the session has ended. The live updates say so.
      return;
    }
    for (const element of group.querySelectorAll("[data-plot-name]")) {
      const plot = drawn.get(element), data = dataOf(element);
      if (plot && !isEmpty(data)) plot.setData(columns(data));
      else draw(element);
    }
  };
  setInterval(() => {
    if (document.hidden || isPaused()) return;
    document.querySelectorAll("[data-plots-source]").forEach(read);
  }, REFRESH_MS);

  drawAll();
  document.addEventListener("htmx:afterSettle", () => drawAll((element) => !drawn.has(element) && !element.closest("[data-plots]")));
  document.addEventListener("themechange", () => drawAll());
  let resizing = null;
  addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => drawAll(), 150);
  });
})();
