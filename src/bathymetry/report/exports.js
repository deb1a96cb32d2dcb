// A figure as files, made here from the data in the page: its numbers as CSV, itself as SVG and PNG.
const SVG = "http://www.w3.org/2000/svg";
const PAPER = { width: 860, margin: 20, gap: 36 };

// Each panel's numbers under the names of its axes; accuracies as shares.
function table(figure) {
  const found = [];
  for (const panel of figure.panels) {
    const view = content.charts[panel.chart];
    const done = new Set();
    for (const layer of layersOf(view)) {
      const data = dataOf(view, layer);
      if (layer.name === "hover" || done.has(data) || !(data in content.datasets)) continue;
      done.add(data);
      const columns = columnsOf(layersOf(view).filter((one) => one.name !== "hover" && dataOf(view, one) === data));
      // Of charts that share an axis, the upper ones have its title in their tooltips only.
      const across = layersOf(view).flatMap((one) => [(one.encoding || {}).tooltip || []].flat()).find((one) => one.field === "x");
      if (across && !columns.has("x")) columns.set("x", { title: across.title, value: (drawn) => rounded(drawn) });
      const all = rows(content.datasets[data]);
      const what = layer.name === "members" ? content.each : layer.name === "spread" ? `90 % of ${content.each}s` : /^interval-/.test(layer.name) ? "interval at the end" : layer.name === "behind" ? "in the background" : all[0] && "low" in all[0] ? "centre" : all[0] && "label" in all[0] ? "line" : layer.name || "";
      for (const row of all) {
        const line = figure.panels.length > 1 ? { panel: panel.title, kind: what } : { kind: what };
        for (const [field, { title, value }] of columns) if (row[field] !== undefined && row[field] !== null) line[title] = value(row[field]);
        if (Object.keys(line).length > 3 - (figure.panels.length === 1)) found.push(line);
      }
    }
  }
  const names = [...new Set(found.flatMap(Object.keys))];
  return [names, ...found.map((line) => names.map((name) => (name in line ? line[name] : "")))];
}

const rounded = (value) => (Number.isInteger(value) ? value : Number(value.toPrecision(5))); // counts stay whole

// What the fields of a layer's data are called, and how each is turned into what a reader expects.
function columnsOf(layers) {
  const columns = new Map([["series", "series"], ["point", "point"], ["member", content.each], ["label", "line"], ["note", "note"], ["snapshot", "snapshot"], ["rank", "rank"]].map(([field, title]) => [field, { title, value: (one) => one }]));
  for (const layer of layers) {
    const { x = {}, y = {} } = layer.encoding || {};
    for (const one of [...[layer.encoding.tooltip || []].flat(), x, y]) {
      if (!one.field || !one.title || columns.has(one.field)) continue;
      const share = natural(one);
      columns.set(one.field, { title: one.title, value: (drawn) => (typeof drawn === "number" ? rounded(share(drawn)) : drawn) });
    }
    const channel = [y, x].find((one) => ["low", "high"].includes(one.field));
    if (!channel) continue;
    const share = natural(channel);
    const ends = (layer.mark.type || layer.mark) === "bar" ? ["from", "to"] : ["lower end of the interval", "upper end of the interval"];
    for (const [at, field] of ["low", "high"].entries()) {
      columns.set(field, { title: `${channel.title}, ${ends[at]}`, value: (drawn) => rounded(share(drawn)) });
    }
  }
  return columns;
}

// A spreadsheet takes words that begin like this for a formula.
function cell(value) {
  const text = typeof value === "string" ? value.replace(/^[=+@\t\r]/, "'$&") : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

const measure = document.createElement("canvas").getContext("2d");

function lines(text, width, font) {
  measure.font = font;
  const found = [];
  for (const word of text.split(/\s+/)) {
    const longer = found.length ? `${found[found.length - 1]} ${word}` : word;
    if (found.length && measure.measureText(longer).width <= width) found[found.length - 1] = longer;
    else found.push(word);
  }
  return found;
}

function add(parent, tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function write(parent, text, left, top, width, size, weight = 400, fill = "#17222d") {
  for (const line of lines(text, width, `${weight} ${size}px ${content.config.font}`)) {
    top += size * 1.4;
    add(parent, "text", { x: left, y: top - size * 0.4, "font-size": size, "font-weight": weight, fill }, line);
  }
  return top;
}

function writeKey(parent, entries, left, top, width) {
  let across = 0;
  measure.font = `12.5px ${content.config.font}`;
  for (const entry of entries) {
    const needs = 42 + measure.measureText(entry.label).width;
    if (across && across + needs > width) [across, top] = [0, top + 20];
    const drawn = new DOMParser().parseFromString(`<svg xmlns="${SVG}">${entry.sample}</svg>`, "image/svg+xml").documentElement;
    const group = add(parent, "g", { transform: `translate(${left + across},${top + 1.5})`, opacity: entry.opacity });
    group.append(...drawn.childNodes);
    write(parent, entry.label, left + across + 42, top, width, 12.5);
    across += needs + 22;
  }
  return entries.length ? top + 20 : top;
}

// The figure on white: title, key, charts as they are shown, caption.
async function sheet(figure) {
  const count = figure.panels.length;
  const columns = figure.stacked || count === 1 ? 1 : count === 2 || count === 4 ? 2 : 3;
  const width = Math.floor((PAPER.width - PAPER.gap * (columns - 1)) / columns);
  const drawn = document.createElementNS(SVG, "svg");
  const paper = add(drawn, "rect", { fill: "#ffffff" });
  const body = add(drawn, "g", { transform: `translate(${PAPER.margin},${PAPER.margin})` });
  let down = write(body, figure.title, 0, 0, PAPER.width, 17, 600) + 8;
  down = writeKey(body, figure.key, 0, down, PAPER.width) + 14;
  for (let first = 0; first < count; first += columns) {
    const row = figure.panels.slice(first, first + columns);
    const tops = row.map((panel, at) => {
      const left = at * (width + PAPER.gap);
      const top = count > 1 ? write(body, panel.title, left, down, width, 14, 600) + 4 : down;
      return writeKey(body, panel.key, left, top, width) + 8;
    });
    down = Math.max(...tops);
    const heights = [];
    for (const [at, panel] of row.entries()) heights.push(await putChart(body, panel.chart, at * (width + PAPER.gap), down, width, first + at));
    down += Math.max(...heights) + 24;
  }
  down = write(body, figure.finding, 0, down, PAPER.width, 13);
  down = write(body, figure.reading, 0, down + 4, PAPER.width, 12.5, 400, "#55626f");
  const size = { width: PAPER.width + 2 * PAPER.margin, height: Math.ceil(down + 2 * PAPER.margin) };
  for (const element of [drawn, paper]) for (const [name, value] of Object.entries(size)) element.setAttribute(name, value);
  drawn.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  drawn.setAttribute("font-family", content.config.font);
  return { ...size, text: new XMLSerializer().serializeToString(drawn) };
}

async function putChart(parent, chart, left, top, width, place) {
  const flat = { ...specification(chart, false, true), width, autosize: { type: "fit-x", contains: "padding" } };
  const { view } = await vegaEmbed(document.createElement("div"), flat, { ...safe, config: content.config, renderer: "svg", tooltip: false });
  const text = (await view.toSVG()).replace(/(id="|url\(#|href="#)([\w-]+)/g, `$1panel-${place}-$2`); // no other chart has these names
  view.finalize();
  const own = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  for (const [name, value] of Object.entries({ x: left, y: top })) own.setAttribute(name, value);
  parent.append(own);
  return Number(own.getAttribute("height"));
}

async function pixels({ text, width, height }) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: 2 * width, height: 2 * height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const made = {
  csv: (figure) => new Blob([table(figure).map((line) => `${line.map(cell).join(",")}\n`).join("")], { type: "text/csv" }),
  svg: async (figure) => new Blob([(await sheet(figure)).text], { type: "image/svg+xml" }),
  png: async (figure) => pixels(await sheet(figure)),
};

for (const button of document.querySelectorAll("button[data-save]")) {
  button.addEventListener("click", async () => {
    const { figure, save: kind } = button.dataset;
    save(await made[kind](content.figures[figure]), `${button.closest("figure").id}.${kind}`); // as in the folder of the study
  });
}
