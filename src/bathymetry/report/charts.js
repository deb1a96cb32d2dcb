// Draws every chart of the page, light or dark as the reader's screen is, and on paper in light.
const boxes = [...document.querySelectorAll("[data-chart]")];
const thumbs = [...document.querySelectorAll("[data-thumb]")];
const system = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
const studyOf = (element) => element.closest(".study").id.replace("study-", "");
const studyOfChart = new Map(boxes.map((box) => [box.dataset.chart, studyOf(box)]));
const views = new Map(); // by chart: what is drawn now
const words = new Map(boxes.map((box) => [box, box.getAttribute("aria-label")])); // what a screen reader says of it
const hidden = new Map(); // by chart: the names that the reader has hidden
let round = 0; // counts the times that all was drawn, so that an older round stops when a newer begins
let busy = 0; // drawings that have begun and not ended

// Rows from columns: see columns.py.
function rows(data) {
  const names = Object.keys(data.columns);
  const cells = names.map((name) => {
    const column = data.columns[name];
    if (Array.isArray(column)) return (row) => column[row];
    if (column.place) return (row) => column.levels[column.place[row]];
    return (row) => column.levels[Math.floor(row / column.each) % column.levels.length];
  });
  return Array.from({ length: data.rows }, (_, row) => Object.fromEntries(names.map((name, i) => [name, cells[i](row)])));
}

function unpacked(card) {
  const data = card.data ? { data: { values: rows(card.data) } } : {};
  return { ...card, ...data, ...(card.layer ? { layer: card.layer.map(unpacked) } : {}) };
}

// The same chart with each colour exchanged for its twin.
function face(value, dark) {
  const text = JSON.stringify(value);
  return JSON.parse(dark ? text.replace(/#[0-9a-f]{6}/g, (colour) => content.twins[colour] || colour) : text);
}

const layersOf = (view) => view.layer || [view];
const dataOf = (view, layer) => (layer.data || view.data || {}).name;

function spaceByLogarithm(view, epochs) {
  for (const layer of layersOf(view)) {
    const x = layer.encoding && layer.encoding.x;
    if (!x || !x.field) continue;
    x.scale = epochs.scale;
    x.axis = { ...x.axis, values: epochs.values };
  }
}

// One network in front of the others and of their centres, which fade.
function highlight(view, chosen, dark) {
  const [member, point] = chosen.split(".").reverse();
  const test = `datum.member === ${member}${point === undefined ? "" : ` && datum.point === ${point}`}`;
  const found = layersOf(view).filter((layer) => layer.encoding && ((layer.encoding.detail || {}).field === "member" || layer.name === "members"));
  const raised = found.map((layer) => {
    const own = face(layer, false);
    const mark = typeof own.mark === "string" ? { type: own.mark } : own.mark;
    delete own.encoding.tooltip;
    own.name = `highlighted-${view.layer.indexOf(layer)}`;
    own.transform = [...(own.transform || []), { filter: test }];
    own.mark = { ...mark, ...(mark.type === "line" ? { strokeWidth: 2.4 } : { size: 2 * (mark.size || 30), stroke: dark ? "#e9eff5" : "#17222d", strokeWidth: 1.2 }) };
    fade(own, () => 1);
    const { color } = layer.encoding;
    if (color && color.legend) color.legend.gradientOpacity = 1;
    return own;
  });
  if (!found.length) return;
  for (const layer of view.layer) {
    if (found.includes(layer)) fade(layer, () => 0.12);
    else if (layer.encoding && (layer.name === "centre" || layer.encoding.y2)) fade(layer, (opacity) => opacity * 0.4);
  }
  view.layer.splice(view.layer.length - 1, 0, ...raised);
}

function fade(layer, change) {
  for (const name of ["strokeOpacity", "fillOpacity", "opacity"]) {
    const own = layer.encoding[name];
    if (own && "value" in own) own.value = change(own.value);
    else if (layer.mark[name] !== undefined) layer.mark[name] = change(layer.mark[name]);
  }
}

function specification(chart, dark, still = false) {
  const { epochs, ...view } = face(content.charts[chart], dark);
  const study = studyOfChart.get(chart);
  if (epochs && listed("log").has(study)) spaceByLogarithm(view, epochs);
  const chosen = listed("network").get(study);
  if (/^(\d+\.)?\d+$/.test(chosen) && view.layer) highlight(view, chosen, dark);
  const names = new Set(layersOf(view).map((layer) => dataOf(view, layer)).filter((name) => name in content.datasets));
  view.datasets = Object.fromEntries([...names].map((name) => [name, rows(content.datasets[name])]));
  for (const layer of [view, ...layersOf(view)]) {
    for (const parameter of layer.params || []) {
      if (parameter.name === "hidden") parameter.value = [...(hidden.get(chart) || [])];
    }
  }
  const reading = content.sliders[study];
  if (!still && reading && chart in reading.charts) addRule(view, reading, dark);
  return view;
}

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
  const options = { ...safe, config: face(content.config, dark), renderer: "canvas", tooltip: tooltipOf(box, dark) };
  box.style.minHeight = views.has(box) ? `${box.offsetHeight}px` : ""; // the page does not jump
  release(box);
  const result = await vegaEmbed(box, specification(box.dataset.chart, dark), options);
  views.set(box, result.view);
  describe(box);
  box.style.minHeight = "";
  box.classList.remove([...box.classList].find((name) => name.startsWith("high-")));
  result.view.addEventListener("click", (event, item) => press(box, event, item));
}

async function drawThumb(thumb, dark, width = "container", renderer = "canvas") {
  const options = { ...safe, config: face(content.config, dark), renderer, tooltip: false };
  release(thumb);
  const flat = { ...unpacked(face(content.cards[thumb.dataset.thumb], dark)), width, autosize: { type: "fit", contains: "padding" } };
  views.set(thumb, (await vegaEmbed(thumb, flat, options)).view);
  thumb.removeAttribute("role");
}

const isShown = (box) => !box.closest("details:not([open])") && box.offsetParent !== null;
// How far an element is from what the reader sees, in pixels.
function distance(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return Math.max(0, top - innerHeight, -bottom);
}

// The page stays alive between two charts; those out of sight wait until it has nothing else to do.
const pause = (next) => new Promise((done) => (next && window.requestIdleCallback && distance(next) > 0 ? requestIdleCallback(done, { timeout: 100 }) : setTimeout(done)));

// The page is ready when nothing is being drawn.
async function whileBusy(work) {
  busy++;
  window.bathymetryReady = false;
  await work();
  busy--;
  window.bathymetryReady = busy === 0;
}

function drawAll() {
  const mine = ++round;
  for (const box of views.keys()) if (box.dataset.chart && !isShown(box)) release(box);
  return drawMissing(mine, [...thumbs, ...boxes.filter(isShown)]);
}

// What is in sight first.
async function drawMissing(mine, some) {
  const far = new Map(some.map((element) => [element, distance(element)]));
  const queue = [...some].sort((one, other) => far.get(one) - far.get(other));
  for (const [at, element] of queue.entries()) {
    if (mine !== round) return;
    const isThumb = "thumb" in element.dataset;
    try {
      await (isThumb ? drawThumb : draw)(element, isDark());
    } catch (error) {
      element.textContent = isThumb ? "" : "This chart could not be drawn; its numbers are in the words below it.";
      console.error(element.dataset.thumb || element.dataset.chart, error);
    }
    await pause(queue[at + 1]);
  }
}

const redraw = (study) => whileBusy(() => drawMissing(round, boxes.filter((box) => views.has(box) && studyOf(box) === study)));

// Paper does not wait for timers or frames, only for promises that need neither; drawn in lines that stay sharp.
function drawForPaper() {
  round++;
  for (const thumb of thumbs) drawThumb(thumb, false, 310, "svg");
  for (const box of boxes.filter(isShown)) {
    release(box);
    const flat = specification(box.dataset.chart, false, true);
    const width = box.closest(".figures > :only-child, .wide") ? 660 : 320;
    flat.height = Math.round(0.64 * flat.height); // as its width
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
  whileBusy(drawAll);
}
