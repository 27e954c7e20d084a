/* Batches: what runs, its rows as they come, one of them opened. Runs when the tab is first shown;
   HTML comes escaped from the server. */
const one = (selector, within = element) => within.querySelector(selector);
const page = window.assistantPage;
const ledger = page.caller(() => server);
const TABLE =
  "<div class='job-head'></div><table><thead><tr><th scope='col'>No.</th><th scope='col'>Question</th>" +
  "<th scope='col'>Answer</th><th scope='col'>Result</th></tr></thead><tbody></tbody></table>";

let job = "";
let known = 0;
let waiting = 0;

const look = async () => {
  clearTimeout(waiting);
  const asked = job;
  const answer = await ledger.look({ job, known });
  if (asked !== job) return;
  one(".jobs").innerHTML = answer.jobs;
  if (answer.job !== job || !one("tbody")) {
    job = answer.job;
    known = 0;
    one(".job").innerHTML = job ? TABLE : "";
    if (!job) return;
    if (answer.count && asked !== job) return look();
  }
  if (one(".job-head").innerHTML !== answer.head && !one(".job-head [data-sure]"))
    one(".job-head").innerHTML = answer.head;
  if (answer.rows) one("tbody").insertAdjacentHTML("beforeend", answer.rows);
  known = answer.count;
  if (answer.again) waiting = setTimeout(() => look().catch(() => (waiting = setTimeout(look, 5000))), 1000);
};
const open = (id) => {
  job = id;
  known = 0;
  one(".job").innerHTML = TABLE;
  return look();
};
const change = async (what) => {
  await ledger.change({ what, job });
  if (what === "delete") {
    job = "";
    one(".job").innerHTML = "";
  }
  await look();
};

const unfold = async (button) => {
  const row = button.closest("tr");
  const opened = row.nextElementSibling;
  if (opened?.classList.contains("opened")) {
    opened.remove();
    button.setAttribute("aria-expanded", "false");
    return;
  }
  const markup = await ledger.row({ job, number: Number(row.dataset.row) });
  row.insertAdjacentHTML("afterend", `<tr class="opened"><td colspan="4">${markup}</td></tr>`);
  button.setAttribute("aria-expanded", "true");
};

const actions = [
  [".open-job", (button) => open(button.dataset.job)],
  [".open-row", unfold],
  [".pause-job", () => change("pause")],
  [".go-on-job", () => change("go on")],
  [".delete-job", (button) => page.sure(button, "Really delete?") && change("delete")],
  [".save-job", async (button) => page.download(await ledger.save({ job, form: button.dataset.form }))],
];
element.addEventListener("click", (event) => {
  for (const [selector, act] of actions) {
    const target = event.target.closest(selector);
    if (target) return act(target);
  }
});

let reported = null;
new MutationObserver(() => {
  const report = document.querySelector("#question-shown .report");
  if (report === reported) return;
  reported = report;
  if (report) open("");
}).observe(element.closest("[role=tabpanel]"), { childList: true, subtree: true });
look();
