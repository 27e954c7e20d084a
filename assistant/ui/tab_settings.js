/* Settings and health. Runs when the tab is first shown; HTML comes escaped from the server. */
const one = (selector, within = element) => within.querySelector(selector);
const page = window.assistantPage;
const panel = page.caller(() => server);

const load = async () => {
  one(".overview").innerHTML = await panel.overview(null);
  follow();
};
const look = async () => {
  one(".health").innerHTML = await panel.health(null);
};

let following = false;
const follow = async () => {
  if (following) return;
  following = true;
  try {
    for (;;) {
      const { markup, again } = await panel.pulling(null);
      one(".pulling").innerHTML = markup;
      if (!again) break;
      await new Promise((done) => setTimeout(done, 500));
    }
  } finally {
    following = false;
  }
};

const change = async (button, act) => {
  page.say(button, "Changing …");
  button.disabled = true;
  try {
    await act();
  } finally {
    button.disabled = false;
    load();
  }
  look();
};
const use = (button, wanted) => change(button, () => panel.use(wanted));
const modelOf = (button) => button.closest("[data-model]").dataset.model;

element.addEventListener("click", async (event) => {
  const chosen = event.target.closest(".use-model");
  if (chosen) return use(chosen, { model: modelOf(chosen) });
  const reset = event.target.closest(".to-default");
  if (reset) return change(reset, () => panel.reset(reset.dataset.names.split(" ")));
  const wanted = event.target.closest(".pull-model");
  if (!wanted) return;
  one(".pulling").innerHTML = await panel.pull(modelOf(wanted));
  await follow();
  load();
});
element.addEventListener("submit", (event) => {
  event.preventDefault();
  const { threads, gpu_layers } = Object.fromEntries(new FormData(event.target));
  use(one("button", event.target), { threads, gpu_layers });
});
load();
look();
