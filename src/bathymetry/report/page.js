// Draws every chart of the page, light or dark as the reader's screen is, and on paper in light.
"use strict";
(() => {
  const root = document.documentElement;
  const content = JSON.parse(document.getElementById("bathymetry-content").textContent);
  const boxes = [...document.querySelectorAll("[data-chart]")];
  const thumbs = [...document.querySelectorAll("[data-thumb]")];
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
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

  async function drawThumb(thumb, dark) {
    const options = { ...safe, config: face(content.config, dark), renderer: "canvas", tooltip: false };
    release(thumb);
    const flat = { ...face(content.cards[thumb.dataset.thumb], dark), width: thumb.clientWidth, autosize: { type: "fit", contains: "padding" } };
    views.set(thumb, (await vegaEmbed(thumb, flat, options)).view);
    thumb.removeAttribute("role");
  }

  const isShown = (box) => !box.closest("details:not([open])") && box.offsetParent !== null;
  const pause = () => new Promise((done) => setTimeout(done)); // the page stays alive between two charts

  async function drawAll() {
    const mine = ++round;
    window.bathymetryReady = false;
    for (const box of views.keys()) if (box.dataset.chart && !isShown(box)) release(box);
    for (const thumb of thumbs) {
      if (mine !== round) return;
      try {
        await drawThumb(thumb, isDark());
      } catch (error) {
        thumb.textContent = "";
        console.error(thumb.dataset.thumb, error);
      }
      await pause();
    }
    await drawMissing(mine, boxes.filter(isShown));
    if (mine !== round) return;
    window.bathymetryReady = true;
    root.dataset.charts = "drawn";
  }

  async function drawMissing(mine, some) {
    for (const box of some) {
      if (mine !== round) return;
      try {
        await draw(box, isDark());
      } catch (error) {
        box.textContent = "This chart could not be drawn; its numbers are in the words below it.";
        console.error(box.dataset.chart, error);
      }
      await pause();
    }
  }

  // Paper does not wait for timers or frames, only for promises that need neither; drawn in lines that stay sharp.
  function drawForPaper() {
    round++;
    for (const box of boxes.filter(isShown)) {
      release(box);
      const flat = specification(box.dataset.chart, false);
      const width = box.closest(".figures > :only-child, .wide") ? 660 : 320;
      flat.width = box.closest(".panels-1") ? width : box.closest(".panels-2, .panels-4") ? 310 : 205;
      vegaEmbed(box, flat, { ...safe, config: content.config, renderer: "svg", tooltip: false }).then((result) => {
        views.set(box, result.view);
        describe(box);
      });
    }
    for (const closed of document.querySelectorAll("details.claim:not([open])")) {
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

  // A study's other figures are drawn when they are opened.
  for (const fold of document.querySelectorAll("details.more")) {
    fold.addEventListener("toggle", () => {
      if (fold.open) drawMissing(round, boxes.filter((box) => fold.contains(box) && !views.has(box)));
    });
  }

  // Filters, "claims only" and opened claims are in the address, so that a link shows the same.
  const state = new URLSearchParams(/=/.test(location.hash) ? location.hash.slice(1) : "");
  const filters = [...document.querySelectorAll("[data-filter]")];
  const only = document.querySelector(".only");
  const filtering = document.querySelector(".filtering");

  function remember() {
    const words = state.toString();
    history.replaceState(null, "", words ? `#${words}` : location.pathname + location.search);
  }

  function fits(claim, filter) {
    return !filter || (filter === "differs" ? "differs" in claim.dataset : claim.dataset.verdict === filter);
  }

  function show() {
    const filter = state.get("show");
    for (const button of filters) button.setAttribute("aria-pressed", String(button.dataset.filter === filter));
    for (const claim of document.querySelectorAll(".claim")) claim.classList.toggle("filtered", !fits(claim, filter));
    for (const study of document.querySelectorAll(".study[id^=study-]")) {
      const some = [...study.querySelectorAll(".claim")];
      study.classList.toggle("filtered", Boolean(filter) && !some.some((claim) => fits(claim, filter)));
    }
    filtering.hidden = !filter;
    if (filter) filtering.firstElementChild.textContent = filter === "differs" ? "Differing claims" : `Only ${filter.replace("-", " ")}`;
    const claimsOnly = state.get("only") === "claims";
    document.body.classList.toggle("claims-only", claimsOnly || Boolean(filter));
    if (only) only.setAttribute("aria-pressed", String(claimsOnly));
    const opened = (state.get("open") || "").split(",").filter(Boolean);
    for (const id of opened) {
      const claim = document.getElementById(`claim-${id}`);
      if (claim) claim.open = true;
    }
  }

  function set(name, value) {
    if (value) state.set(name, value);
    else state.delete(name);
    show();
    remember();
  }

  for (const button of filters) {
    button.addEventListener("click", () => set("show", state.get("show") === button.dataset.filter ? "" : button.dataset.filter));
  }
  filtering.querySelector("button").addEventListener("click", () => set("show", ""));
  if (only) only.addEventListener("click", () => set("only", state.get("only") === "claims" ? "" : "claims"));
  for (const claim of document.querySelectorAll(".claim")) {
    claim.addEventListener("toggle", () => {
      const opened = [...document.querySelectorAll(".claim[open]")].map((one) => one.id.replace("claim-", ""));
      if (!document.querySelector("[data-opened]")) set("open", opened.join(","));
    });
  }

  document.querySelector(".theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    drawAll();
  });

  const links = [...document.querySelectorAll(".rail a")];
  const targets = links.map((link) => document.querySelector(link.getAttribute("href")));
  function mark() {
    let here = 0;
    targets.forEach((target, at) => {
      if (target && target.offsetParent !== null && target.getBoundingClientRect().top < innerHeight / 3) here = at;
    });
    links.forEach((link, at) => link.classList.toggle("here", at === here));
  }
  addEventListener("scroll", mark, { passive: true });
  for (const link of document.querySelectorAll(".menu a")) link.addEventListener("click", () => link.closest("details").removeAttribute("open"));

  show();
  mark();
  system.addEventListener("change", drawAll);
  window.addEventListener("beforeprint", drawForPaper);
  window.addEventListener("afterprint", backFromPaper);
  drawAll();
})();
