/* The map: points on a canvas, moved, looked at and drawn around. Runs when the tab is first shown.
   Titles are put in place as textContent; HTML comes escaped from the server. */
const one = (selector, within = element) => within.querySelector(selector);
const page = window.assistantPage;
const table = page.caller(() => server);
const canvas = one("canvas");
const pen = canvas.getContext("2d");
const tip = one(".map-tip");
const GRID = 10000;

let map = { ids: [], x: [], y: [], regions: [], names: [] };
let chosen = new Set(); // positions
let answered = new Set();
let hovered = -1;
let opened = -1;
let view = { scale: 1, left: 0, top: 0 }; // of the grid, in CSS pixels
let lassoing = false;
let line = null; // the lasso, in CSS pixels

// Colours: one for each region, told apart by hue and lightness, on either ground.
const isDark = () => document.body.classList.contains("dark");
const colour = (region) => {
  const hue = (region * 137.5 + 200) % 360;
  const light = (isDark() ? 66 : 42) + (region % 3) * 6;
  return `hsl(${hue} ${region % 2 ? 45 : 62}% ${light}%)`;
};
const inked = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

const place = (i) => [map.x[i] * view.scale + view.left, map.y[i] * view.scale + view.top];
const fit = () => {
  const { clientWidth: width, clientHeight: height } = canvas;
  const pad = 48;
  const across = Math.max(1, ...minmax(map.x));
  const down = Math.max(1, ...minmax(map.y));
  const above = 72; // the buttons
  const scale = Math.max(1e-6, Math.min((width - 2 * pad) / across, (height - above - pad) / down));
  const top = above + (height - above - pad - down * scale) / 2;
  view = { scale, left: (width - across * scale) / 2, top };
};
const minmax = (values) => {
  let most = 0;
  for (const value of values) if (value > most) most = value;
  return [most];
};

// The points are painted once for a view, and shown again while only rings and the lasso change.
const layer = document.createElement("canvas");
const brush = layer.getContext("2d");
let painted = "";
let changes = 0; // of the map and of what is chosen
let order = []; // positions, those of a region together: colours are changed seldom

const paint = (width, height, ratio) => {
  const { scale, left, top } = view;
  const now = [width, height, ratio, scale, left, top, isDark(), changes].join();
  if (now === painted) return;
  painted = now;
  layer.width = canvas.width;
  layer.height = canvas.height;
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  const count = map.ids.length;
  const size = radius();
  const some = chosen.size > 0;
  let region = -1;
  let faint = -1;
  for (const i of order) {
    const x = map.x[i] * scale + left;
    const y = map.y[i] * scale + top;
    if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
    const alpha = some && !chosen.has(i) ? 0.16 : 0.85;
    if (region !== map.regions[i]) brush.fillStyle = colour((region = map.regions[i]));
    if (alpha !== faint) brush.globalAlpha = faint = alpha;
    if (count > 8000) brush.fillRect(x - size, y - size, 2 * size, 2 * size);
    else {
      brush.beginPath();
      brush.arc(x, y, size, 0, 7);
      brush.fill();
    }
  }
  brush.globalAlpha = 1;
  writeNames(width, height);
};

const draw = () => {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  paint(width, height, ratio);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (canvas.width && canvas.height) pen.drawImage(layer, 0, 0);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const size = radius();
  ring(answered, inked("--mark-lit"), size + 4, 3);
  ring([opened, hovered].filter((i) => i >= 0), inked("--ink"), size + 2, 1.5);
  if (line) {
    pen.beginPath();
    line.forEach(([x, y], at) => (at ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.closePath();
    pen.strokeStyle = inked("--accent");
    pen.lineWidth = 2;
    pen.stroke();
    pen.globalAlpha = 0.12;
    pen.fillStyle = inked("--accent");
    pen.fill();
    pen.globalAlpha = 1;
  }
};
const zoomed = () => Math.min(2.5, Math.max(1, Math.sqrt(view.scale / whole)));
let whole = 1;
const radius = () => Math.max(1.6, Math.min(7, 60 / Math.sqrt(map.ids.length + 1))) * zoomed();
const ring = (points, colour, size, width) => {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  for (const i of points) {
    pen.beginPath();
    pen.arc(...place(i), size, 0, 7);
    pen.stroke();
  }
};
// The names of the regions, where their papers are; one that would cover another is left out.
let middles = [];
const writeNames = (width, height) => {
  brush.font = `600 ${width < 600 ? 11 : 13}px ${inked("--sans")}`;
  brush.textAlign = "center";
  brush.textBaseline = "middle";
  const taken = [];
  map.names.forEach((name, region) => {
    const middle = middles[region];
    if (!middle) return;
    const short = name.split(", ").slice(0, 2).join(", ");
    const half = brush.measureText(short).width / 2 + 4;
    const x = Math.max(half, Math.min(width - half, middle[0] * view.scale + view.left));
    const y = middle[1] * view.scale + view.top;
    if (y < 0 || y > height) return;
    if (taken.some(([tx, ty, th]) => Math.abs(tx - x) < th + half && Math.abs(ty - y) < 18)) return;
    taken.push([x, y, half]);
    brush.strokeStyle = inked("--paper");
    brush.lineWidth = 4;
    brush.lineJoin = "round";
    brush.strokeText(short, x, y);
    brush.fillStyle = inked("--ink");
    brush.fillText(short, x, y);
  });
};
const findMiddles = () => {
  middles = map.names.map((_, region) => {
    const members = [];
    map.regions.forEach((each, i) => each === region && members.push(i));
    if (!members.length) return null;
    const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
    return [median(members.map((i) => map.x[i])), median(members.map((i) => map.y[i]))];
  });
};

let drawing = 0;
const redraw = () => {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(draw);
};

const nearest = (x, y, within = 14) => {
  let best = -1;
  let closest = within * within;
  for (let i = 0; i < map.ids.length; i++) {
    const across = map.x[i] * view.scale + view.left - x;
    const down = map.y[i] * view.scale + view.top - y;
    const distance = across * across + down * down;
    if (distance < closest) [best, closest] = [i, distance];
  }
  return best;
};

const titles = new Map();
const titleOf = async (i) => {
  if (!titles.has(i)) titles.set(i, await table.title(map.ids[i]));
  return titles.get(i);
};
const showTip = async (i, x, y) => {
  if (i !== hovered) redraw();
  hovered = i;
  canvas.style.cursor = i >= 0 ? "pointer" : lassoing ? "crosshair" : "grab";
  if (i < 0) return (tip.hidden = true);
  // Of the many that a hand passes over, only where it rests a title is asked for.
  if (!titles.has(i)) await new Promise((rested) => setTimeout(rested, 60));
  if (hovered !== i) return;
  const title = await titleOf(i);
  if (hovered !== i) return;
  tip.textContent = title;
  tip.hidden = false;
  tip.style.left = `${Math.max(8, Math.min(x + 14, canvas.clientWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${y + 18 + tip.offsetHeight > canvas.clientHeight ? y - tip.offsetHeight - 12 : y + 18}px`;
};

const choose = (positions) => {
  chosen = new Set(positions);
  changes++;
  one(".map-chosen").hidden = chosen.size === 0;
  const count = chosen.size === 1 ? "1 paper chosen" : `${chosen.size.toLocaleString("en")} papers chosen`;
  one(".map-chosen .chosen-count").textContent = count;
  if (!chosen.size) for (const each of element.querySelectorAll(".region")) each.setAttribute("aria-pressed", "false");
  redraw();
};
const open = async (i) => {
  opened = i;
  redraw();
  one(".map-paper").innerHTML = await table.paper(map.ids[i]);
  one(".map-paper").scrollIntoView({ block: "nearest" });
};

const inside = (x, y, ring) => {
  let within = false;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
    const [[xi, yi], [xj, yj]] = [ring[i], ring[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) within = !within;
  }
  return within;
};

// Mouse, pen and finger
let grip = null;
const at = (event) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  const [x, y] = at(event);
  grip = { x, y, left: view.left, top: view.top, moved: false };
  if (lassoing || event.shiftKey) line = [[x, y]];
});
canvas.addEventListener("pointermove", (event) => {
  const [x, y] = at(event);
  if (!grip) return void showTip(nearest(x, y), x, y);
  if (Math.abs(x - grip.x) + Math.abs(y - grip.y) > 4) grip.moved = true;
  if (line) line.push([x, y]);
  else if (grip.moved) {
    view.left = grip.left + x - grip.x;
    view.top = grip.top + y - grip.y;
  }
  redraw();
});
canvas.addEventListener("pointerup", (event) => {
  const [x, y] = at(event);
  const was = grip;
  const drawn = line;
  grip = line = null;
  if (drawn && was.moved) {
    const held = [];
    const [far, low] = [0, 1].map((axis) => Math.max(...drawn.map((point) => point[axis])));
    const [near, high] = [0, 1].map((axis) => Math.min(...drawn.map((point) => point[axis])));
    for (let i = 0; i < map.ids.length; i++) {
      const [x, y] = place(i);
      if (x >= near && x <= far && y >= high && y <= low && inside(x, y, drawn)) held.push(i);
    }
    choose(held);
    setLasso(false);
  } else if (was && !was.moved) {
    const i = nearest(x, y);
    if (i >= 0) open(i);
    else choose([]);
  }
  redraw();
});
canvas.addEventListener("pointerleave", () => !grip && showTip(-1));
const zoom = (factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) => {
  const scale = Math.max(whole / 2, Math.min(whole * 200, view.scale * factor));
  const by = scale / view.scale;
  view = { scale, left: x - (x - view.left) * by, top: y - (y - view.top) * by };
  redraw();
};
canvas.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...at(event));
  },
  { passive: false },
);
canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  if (event.key === "+" || event.key === "=") zoom(1.3);
  else if (event.key === "-") zoom(1 / 1.3);
  else if (moves[event.key]) {
    view.left += moves[event.key][0];
    view.top += moves[event.key][1];
    redraw();
  } else return;
  event.preventDefault();
});

const setLasso = (on) => {
  lassoing = on;
  one(".lasso").setAttribute("aria-pressed", String(on));
  canvas.style.cursor = on ? "crosshair" : "grab";
};
const askOnly = (ids, label) => {
  page.setScope(ids.length < map.ids.length ? ids : [], label);
  page.openTab("chat");
  setTimeout(() => document.querySelector("#question textarea")?.focus(), 100);
};
const regionNames = () =>
  [...element.querySelectorAll('.region[aria-pressed="true"]')].map((each) => map.names[each.dataset.region]);

const actions = [
  [".lasso", () => setLasso(!lassoing)],
  [".closer", () => zoom(1.5)],
  [".farther", () => zoom(1 / 1.5)],
  [
    ".whole",
    () => {
      fit();
      redraw();
    },
  ],
  [".clear-chosen", () => choose([])],
  [".ask-chosen", () => askOnly([...chosen].map((i) => map.ids[i]), regionNames().join("; "))],
  [".ask-paper", (button) => askOnly([button.dataset.paper], one("h3", button.closest(".paper")).textContent)],
  [
    ".region",
    (button) => {
      const pressed = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(pressed));
      const wanted = new Set(
        [...element.querySelectorAll('.region[aria-pressed="true"]')].map((each) => Number(each.dataset.region)),
      );
      const held = [];
      map.regions.forEach((region, i) => wanted.has(region) && held.push(i));
      choose(held);
    },
  ],
];
element.addEventListener("click", (event) => {
  for (const [selector, act] of actions) {
    const target = event.target.closest(selector);
    if (target) return act(target);
  }
});

// Made in the background, looked for whenever the tab is opened.
const waiting = one(".map-waiting");
let known = "";
let looking = false;
const look = async () => {
  if (looking) return;
  looking = true;
  let newest = "";
  try {
    for (;;) {
      const { ready, done, doing, key } = await table.state(null);
      newest = key;
      if (ready) break;
      waiting.hidden = false;
      waiting.textContent = `${doing} … ${Math.round(100 * done)} %`;
      await new Promise((again) => setTimeout(again, 300));
    }
    if (newest !== known) {
      map = await table.points(null);
      known = newest;
      order = map.ids.map((_, i) => i).sort((a, b) => map.regions[a] - map.regions[b]);
      titles.clear();
      one(".regions").innerHTML = map.list;
      for (const dot of element.querySelectorAll(".dot")) dot.style.background = colour(Number(dot.dataset.colour));
      opened = hovered = -1;
      findMiddles();
      fit();
      whole = view.scale;
      choose([]);
    }
    waiting.hidden = map.ids.length > 0;
    if (!map.ids.length) waiting.textContent = "No papers yet.";
    element.querySelector(".map-tab").dataset.papers = String(map.ids.length);
    await showAnswered();
  } catch {
    waiting.textContent = "There is no map."; // why was told
  } finally {
    looking = false;
  }
};
const showAnswered = async () => {
  const turn = document.querySelector('#current .turn[data-state="done"]');
  const ids = turn
    ? await table.answered({ conversation: turn.dataset.conversation, number: Number(turn.dataset.turn) })
    : [];
  const cited = new Set(ids);
  answered = new Set();
  map.ids.forEach((id, i) => cited.has(id) && answered.add(i));
  one(".map-answer").hidden = answered.size === 0;
  redraw();
};
new ResizeObserver(() => {
  if (!canvas.clientWidth) return;
  fit();
  whole = view.scale;
  redraw();
  look();
}).observe(canvas);
new MutationObserver(() => {
  for (const dot of element.querySelectorAll(".dot")) dot.style.background = colour(Number(dot.dataset.colour));
  redraw();
}).observe(document.body, { attributes: true, attributeFilter: ["class"] });
