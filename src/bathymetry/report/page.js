// The page's controls: what is shown, where the reader is, and the address that says so.
const filters = [...document.querySelectorAll("[data-filter]")];
const only = document.querySelector(".only");
const filtering = document.querySelector(".filtering");
const series = [...document.querySelectorAll("button[data-series]")];
const folds = [...document.querySelectorAll("details[data-more]")];
const links = [...document.querySelectorAll(".rail a")];
const nameOf = (button) => `${button.dataset.charts.split("|")[0]}:${button.dataset.series}`;

function fits(claim, filter) {
  return !filter || (filter === "differs" ? "differs" in claim.dataset : claim.dataset.verdict === filter);
}

function showSeries() {
  const off = new Set(state.getAll("hide"));
  hidden.clear();
  for (const button of series) {
    const isOff = off.has(nameOf(button));
    button.setAttribute("aria-pressed", String(!isOff));
    for (const chart of button.dataset.charts.split("|")) {
      if (isOff) hidden.set(chart, [...(hidden.get(chart) || []), button.dataset.series]);
    }
  }
}

function showFilter() {
  const filter = filters.map((button) => button.dataset.filter).find((one) => one === state.get("show")); // any other shows all
  for (const button of filters) button.setAttribute("aria-pressed", String(button.dataset.filter === filter));
  for (const claim of document.querySelectorAll(".claim")) claim.classList.toggle("filtered", !fits(claim, filter));
  for (const part of document.querySelectorAll(".study[id^=study-], .group")) {
    const some = [...part.querySelectorAll(".claim")];
    const without = Boolean(filter) && !some.some((claim) => fits(claim, filter));
    part.classList.toggle("filtered", without);
    document.querySelector(`.card[href="#${part.id}"]`)?.classList.toggle("without", without);
  }
  filtering.hidden = !filter;
  if (filter) filtering.firstElementChild.textContent = filter === "differs" ? "Differing claims" : `Only ${filter.replace("-", " ")}`;
  const claimsOnly = state.get("only") === "claims";
  document.body.classList.toggle("claims-only", claimsOnly || Boolean(filter));
  if (only) only.setAttribute("aria-pressed", String(claimsOnly));
}

function show() {
  showFilter();
  showSeries();
  const opened = new Set((state.get("open") || "").split(","));
  for (const claim of document.querySelectorAll(".claim")) claim.open = opened.has(claim.id.replace("claim-", ""));
  const unfolded = (state.get("more") || "").split(",");
  for (const fold of folds) fold.open = unfolded.includes(fold.dataset.more);
  for (const study of new Set(studyOfChart.values())) controlsOf(study);
}

function set(name, value) {
  put(name, value);
  showFilter();
  remember();
  if (!document.body.classList.contains("claims-only")) whileBusy(() => drawMissing(round, boxes.filter((box) => isShown(box) && !views.has(box))));
}

for (const menu of document.querySelectorAll(".code select")) {
  const choice = () => menu.closest(".code").querySelectorAll("[data-code]").forEach((one) => (one.hidden = one.dataset.code !== menu.value));
  menu.addEventListener("change", choice);
  choice();
}

for (const button of filters) {
  button.addEventListener("click", () => set("show", state.get("show") === button.dataset.filter ? "" : button.dataset.filter));
}
filtering.querySelector("button").addEventListener("click", () => set("show", ""));
if (only) only.addEventListener("click", () => set("only", state.get("only") === "claims" ? "" : "claims"));
for (const claim of document.querySelectorAll(".claim")) {
  claim.addEventListener("toggle", () => {
    if (document.querySelector("[data-opened]")) return; // printing
    put("open", [...document.querySelectorAll(".claim[open]")].map((one) => one.id.replace("claim-", "")).join(","));
    remember();
  });
}

for (const button of series) {
  button.addEventListener("click", () => {
    const others = state.getAll("hide").filter((name) => name !== nameOf(button));
    if (others.length === state.getAll("hide").length) others.push(nameOf(button));
    state.delete("hide");
    for (const name of others) state.append("hide", name);
    remember();
    showSeries();
    for (const chart of button.dataset.charts.split("|")) {
      const view = views.get(boxes.find((box) => box.dataset.chart === chart));
      if (view) view.signal("hidden", hidden.get(chart) || []).runAsync();
    }
  });
}

// A study's other figures are drawn when they are opened.
for (const fold of folds) {
  fold.addEventListener("toggle", () => {
    const open = folds.filter((one) => one.open).map((one) => one.dataset.more).join(",");
    if (open === (state.get("more") || "")) return; // opened as the address says
    put("more", open);
    remember();
    whileBusy(() => drawMissing(round, boxes.filter((box) => isShown(box) && !views.has(box))));
  });
}

document.querySelector(".theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  whileBusy(drawAll);
});

// A link within the page adds where it leads to the address, and replaces nothing else there.
const placeNamed = (name) => document.getElementById(`study-${name}`) || document.getElementById(name);

function goTo(name) {
  const target = name ? placeNamed(name) : null;
  if (!target) return;
  target.scrollIntoView();
  if (!target.hasAttribute("tabindex")) target.tabIndex = -1;
  target.focus({ preventScroll: true });
}

for (const link of document.querySelectorAll('a[href^="#"]')) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const menu = link.closest(".menu");
    if (menu) menu.open = false;
    const name = link.getAttribute("href").slice(1).replace(/^study-/, "");
    put("s", name === "main" ? "" : name);
    remember(true);
    goTo(name);
  });
}

function mark() {
  let here = 0;
  links.forEach((link, at) => {
    const target = placeNamed(link.getAttribute("href").slice(1));
    if (target && target.offsetParent !== null && target.getBoundingClientRect().top < innerHeight / 3) here = at;
  });
  links.forEach((link, at) => {
    link.classList.toggle("here", at === here);
    if (at === here) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
}

// An address that was typed or gone back to.
function revisit() {
  read();
  show();
  goTo(state.get("s"));
  whileBusy(drawAll);
}

addEventListener("scroll", mark, { passive: true });
addEventListener("popstate", revisit);
system.addEventListener("change", () => whileBusy(drawAll));
addEventListener("beforeprint", drawForPaper);
addEventListener("afterprint", backFromPaper);
show();
mark();
goTo(state.get("s"));
whileBusy(drawAll);
