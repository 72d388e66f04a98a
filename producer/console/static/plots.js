/* Draws the plots of `ui.plot`: data-plot is {"times": [seconds], "series": [{"label", "values",
   "tone"}], "unit"}. Tones are 1 to 4, or good, bad, warn, busy. */
"use strict";
(() => {
  const drawn = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const toneColour = (tone, index) => colour(/^[1-4]$/.test(tone || "") ? `plot-${tone}` : tone || `plot-${(index % 4) + 1}`);
  const number = (value, unit) => {
    if (value === null || value === undefined) return "\u2013";
    const text = Math.abs(value) >= 10000
      ? new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value)
      : new Intl.NumberFormat("en", { maximumFractionDigits: value % 1 && Math.abs(value) < 100 ? 2 : 0 }).format(value);
    return unit ? `${text} ${unit}` : text;
  };

  const draw = (element) => {
    drawn.get(element)?.destroy();
    const data = JSON.parse(element.dataset.plot);
    const text = colour("text-2"), grid = colour("plot-grid");
    const legendHeight = data.series.length > 1 ? 28 : 24;
    const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    element.textContent = "";
    const plot = new uPlot({
      width: Math.max(120, element.clientWidth),
      height: element.clientHeight - legendHeight,
      cursor: { y: false, points: { size: 6 } },
      scales: { y: { range: (_, low, high) => [Math.min(0, low || 0), high > 0 ? high * 1.1 : 1] } },
      axes: [
        { ...axis, space: 70, size: 26 },
        { ...axis, space: 28, size: 52, values: (_, all) => all.map((one) => number(one)) },
      ],
      legend: { show: true, live: true },
      series: [
        { value: (_, at) => (at ? new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ") : "UTC") },
        ...data.series.map((one, index) => ({
          label: one.label,
          stroke: toneColour(one.tone, index),
          width: 1.75,
          spanGaps: false,
          points: { show: data.times.length < 2 },
          paths: one.steps ? uPlot.paths.stepped({ align: 1 }) : undefined,
          value: (_, value) => number(value, data.unit),
        })),
      ],
    }, [data.times, ...data.series.map((one) => one.values)], element);
    drawn.set(element, plot);
  };
  const drawAll = (isNeeded = () => true) => {
    for (const [element, plot] of drawn) {
      if (!element.isConnected) { plot.destroy(); drawn.delete(element); }
    }
    for (const element of document.querySelectorAll("[data-plot]")) {
      if (isNeeded(element)) draw(element);
    }
  };

  drawAll();
  document.addEventListener("htmx:afterSettle", () => drawAll((element) => !drawn.has(element)));
  document.addEventListener("themechange", () => drawAll());
  let resizing = null;
  addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => drawAll(), 150);
  });
})();
