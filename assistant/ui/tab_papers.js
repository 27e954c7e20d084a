/* The list of papers. Runs when the tab is first shown; `element` is the tab, `server` the functions
   of tab_papers.py. HTML comes escaped from the server; titles are put in place as textContent. */
const one = (selector, within = element) => within.querySelector(selector);
const page = window.assistantPage;
const shelf = page.caller(() => server);
const list = one(".paper-rows");
const chosen = new Map(); // id -> title, whatever the list shows

const wanted = (start) => ({
  words: one(".search").value,
  from: Number(one(".from").value) || null,
  to: Number(one(".to").value) || null,
  code: one(".code").checked,
  start,
});

let latest = 0;
const load = async (start = 0) => {
  const mine = ++latest;
  const answer = await shelf.papers(wanted(start));
  if (mine !== latest) return; // somebody has typed on
  if (start === 0) list.innerHTML = answer.rows;
  else list.insertAdjacentHTML("beforeend", answer.rows);
  one(".found").textContent = answer.found;
  one(".more-papers").hidden = !answer.more;
  for (const box of list.querySelectorAll("input[type=checkbox]"))
    box.checked = chosen.has(idOf(box));
};

const rowOf = (target) => target.closest("li[data-paper]");
const idOf = (target) => rowOf(target).dataset.paper;
const titleOf = (target) => one(".open-paper", rowOf(target)).textContent;

const showChosen = () => {
  one(".chosen").hidden = chosen.size === 0;
  one(".chosen-count").textContent = chosen.size === 1 ? "1 paper chosen" : `${chosen.size} papers chosen`;
};

const askOnly = (papers) => {
  const titles = [...papers.values()];
  page.setScope([...papers.keys()], titles.slice(0, 3).join("; ") + (titles.length > 3 ? " …" : ""));
  page.openTab("chat");
  setTimeout(() => document.querySelector("#question textarea")?.focus(), 100);
};

const showCount = (count) => {
  const told = document.querySelector(".masthead .count");
  if (told) told.textContent = count === 1 ? "1 paper" : `${count.toLocaleString("en")} papers`;
};

const unfold = async (button) => {
  const detail = one(".detail", rowOf(button));
  const open = detail.hidden;
  if (open) detail.innerHTML = await shelf.paper(idOf(button));
  detail.hidden = !open;
  button.setAttribute("aria-expanded", String(open));
};

const remove = async (button, ids) => {
  if (!page.sure(button, ids.length === 1 ? "Really remove?" : `Really remove ${ids.length}?`)) return;
  showCount(await shelf.remove(ids));
  for (const id of ids) chosen.delete(id);
  showChosen();
  load();
};

const edit = async (button) => {
  const dialog = one(".edit-paper");
  const paper = idOf(button);
  dialog.innerHTML = await shelf.form(paper);
  dialog.onclose = async () => {
    if (dialog.returnValue !== "save") return;
    const fields = Object.fromEntries(new FormData(one("form", dialog)));
    await shelf.edit({ paper, fields });
    load();
  };
  dialog.returnValue = "";
  dialog.showModal();
};

const actions = [
  [".open-paper", unfold],
  [".more-papers", () => load(list.children.length)],
  [".ask-paper", (button) => askOnly(new Map([[idOf(button), titleOf(button)]]))],
  [
    ".similar",
    (button) => {
      one(".search").value = titleOf(button);
      load();
      one(".search").focus();
    },
  ],
  [".edit-this", edit],
  [".remove-this", (button) => remove(button, [idOf(button)])],
  [".ask-chosen", () => askOnly(chosen)],
  [".save-chosen", async () => page.download(await shelf.bibtex([...chosen.keys()]))],
  [".remove-chosen", (button) => remove(button, [...chosen.keys()])],
  [
    ".clear-chosen",
    () => {
      chosen.clear();
      showChosen();
      for (const box of list.querySelectorAll("input[type=checkbox]")) box.checked = false;
    },
  ],
];
element.addEventListener("click", (event) => {
  for (const [selector, act] of actions) {
    const target = event.target.closest(selector);
    if (target) return act(target);
  }
});
element.addEventListener("change", (event) => {
  if (!event.target.matches(".paper-rows input[type=checkbox]")) return;
  if (event.target.checked) chosen.set(idOf(event.target), titleOf(event.target));
  else chosen.delete(idOf(event.target));
  showChosen();
});
let timer = 0;
one(".tools").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(load, 120);
});

const showCollections = async () => {
  const nav = one(".collections");
  nav.innerHTML = await shelf.collections(null);
  nav.hidden = !nav.innerHTML;
};

// Papers that were added belong into the list.
let reported = null;
new MutationObserver(async () => {
  const report = document.querySelector("#paper-shown .report");
  if (report === reported) return;
  reported = report;
  if (!report) return;
  load();
  showCollections();
  showCount(await shelf.count(null));
}).observe(element.closest("[role=tabpanel]"), { childList: true, subtree: true });

// Other tabs open a paper here.
page.openPaper = (title) => {
  page.openTab("papers");
  one(".search").value = title;
  load().then(() => one(".open-paper")?.click());
};
load();
showCollections();
