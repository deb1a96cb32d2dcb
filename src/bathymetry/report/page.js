// Draws every chart of the page, light or dark as the reader's screen is, and on paper in light.
"use strict";
(() => {
  const content = JSON.parse(document.getElementById("bathymetry-content").textContent);
  const boxes = [...document.querySelectorAll("[data-chart]")];
  const darkness = window.matchMedia("(prefers-color-scheme: dark)");
  const views = new Map(); // by chart: what is drawn now
  const words = new Map(boxes.map((box) => [box, box.getAttribute("aria-label")])); // what a screen reader says of it
  const hidden = new Map(); // by chart: the names that the reader has hidden
  let round = 0; // counts the times that all was drawn, so that an older round stops when a newer begins

  // Rows from columns: see columns.py.
  function rows(data) {
    const names = Object.keys(data.columns);
    const read = names.map((name) => {
      const column = data.columns[name];
      if (Array.isArray(column)) return (row) => column[row];
      if (column.place) return (row) => column.levels[column.place[row]];
      return (row) => column.levels[Math.floor(row / column.each) % column.levels.length];
    });
    return Array.from({ length: data.rows }, (_, row) => Object.fromEntries(names.map((name, i) => [name, read[i](row)])));
  }

  // The same chart with each colour exchanged for its twin.
  function face(value, dark) {
    const text = JSON.stringify(value);
    return JSON.parse(dark ? text.replace(/#[0-9a-f]{6}/g, (colour) => content.twins[colour] || colour) : text);
  }

  function withData(specification) {
    const named = new Set();
    JSON.stringify(specification, (key, value) => {
      if (key === "data" && value && value.name) named.add(value.name);
      return value;
    });
    specification.datasets = Object.fromEntries([...named].filter((name) => name in content.datasets).map((name) => [name, rows(content.datasets[name])]));
    for (const parameter of specification.params || []) {
      if (parameter.name === "hidden") parameter.value = [...(hidden.get(specification.chart) || [])];
    }
    delete specification.chart;
    return specification;
  }

  const specification = (chart, dark) => withData({ ...face(content.charts[chart], dark), chart });

  function release(box) {
    const old = views.get(box);
    if (old) old.finalize();
    views.delete(box);
  }

  // Expressions are interpreted, not compiled, and styles stand in the page: its security policy allows nothing else.
  const safe = { ast: true, defaultStyle: false, actions: false };

  // Vega puts a role and a name of its own on the element it draws into.
  function describe(box) {
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", words.get(box));
    box.removeAttribute("aria-roledescription");
  }

  async function draw(box, dark) {
    const tooltip = { theme: dark ? "dark" : "light", disableDefaultStyle: true };
    const options = { ...safe, config: face(content.config, dark), renderer: "canvas", tooltip };
    release(box);
    const result = await vegaEmbed(box, specification(box.dataset.chart, dark), options);
    views.set(box, result.view);
    describe(box);
    box.classList.remove([...box.classList].find((name) => name.startsWith("high-")));
  }

  async function drawAll() {
    const mine = ++round;
    window.bathymetryReady = false;
    for (const box of boxes) {
      if (mine !== round) return;
      try {
        await draw(box, darkness.matches);
      } catch (error) {
        box.textContent = "This chart could not be drawn; its numbers are in the words below it.";
        console.error(box.dataset.chart, error);
      }
      await new Promise((done) => setTimeout(done)); // the page stays alive between two charts
    }
    if (mine !== round) return;
    window.bathymetryReady = true;
    document.documentElement.dataset.charts = "drawn";
  }

  // Paper does not wait for timers or frames, only for promises that need neither; drawn in lines that stay sharp.
  function drawForPaper() {
    round++;
    for (const box of boxes) {
      release(box);
      const flat = specification(box.dataset.chart, false);
      flat.width = box.closest(".panels-1") ? 640 : box.closest(".panels-2, .panels-4") ? 310 : 205;
      vegaEmbed(box, flat, { ...safe, config: content.config, renderer: "svg", tooltip: false }).then((result) => {
        views.set(box, result.view);
        describe(box);
      });
    }
    for (const closed of document.querySelectorAll("details:not([open])")) {
      closed.open = true;
      closed.dataset.opened = "";
    }
  }

  function backFromPaper() {
    for (const opened of document.querySelectorAll("details[data-opened]")) {
      opened.open = false;
      delete opened.dataset.opened;
    }
    drawAll();
  }

  for (const button of document.querySelectorAll("button[data-series]")) {
    button.addEventListener("click", () => {
      const show = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(show));
      for (const chart of button.dataset.charts.split("|")) {
        const names = hidden.get(chart) || new Set();
        if (show) names.delete(button.dataset.series);
        else names.add(button.dataset.series);
        hidden.set(chart, names);
        const view = views.get(boxes.find((box) => box.dataset.chart === chart));
        if (view) view.signal("hidden", [...names]).runAsync();
      }
    });
  }

  darkness.addEventListener("change", drawAll);
  window.addEventListener("beforeprint", drawForPaper);
  window.addEventListener("afterprint", backFromPaper);
  drawAll();
})();
