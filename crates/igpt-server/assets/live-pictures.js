// Pictures over time: a slider that follows the newest one until the visitor moves it, and a button that plays them.

import { count } from "./live-format.js";
import { picture } from "./live-feed.js";

/** Pictures kept in memory. */
const KEPT = 64;
/** Playing all takes about this long, within limits for each picture. */
const PLAY_MS = 6000;
const [FASTEST_MS, SLOWEST_MS] = [80, 500];

export class Pictures {
  #section;
  #image;
  #slider;
  #output;
  #play;
  #newest;
  #list = [];
  #follows = true;
  /** What is being played; null while nothing is. */
  #film = null;
  #shown = null;
  #cache = new Cache();

  /** The pictures in the section `id`. */
  constructor(id) {
    const find = (selector) => this.#section.querySelector(selector);
    this.#section = document.getElementById(id);
    [this.#image, this.#slider, this.#output] = [find("img"), find("input"), find("output")];
    [this.#play, this.#newest] = [find(".play"), find(".newest")];
    this.#slider.addEventListener("input", () => this.#moved());
    this.#play.addEventListener("click", () => (this.#film ? this.#stop() : this.#start()));
    this.#newest.addEventListener("click", () => this.#toEnd());
  }

  /** Shows `list` ({step, url}, oldest first), at the newest or where the visitor is. */
  show(list) {
    const step = this.#current?.step;
    this.#list = list;
    this.#section.hidden = list.length === 0;
    if (list.length === 0) return;
    this.#slider.max = list.length - 1;
    const same = list.findLastIndex((picture) => picture.step <= step);
    this.#go(this.#follows ? list.length - 1 : Math.max(0, same));
  }

  /** Waits until the newest picture is here, whether it is looked at or not. */
  async settled() {
    const newest = this.#list.at(-1);
    if (newest) await this.#cache.get(newest.url).catch(() => null);
  }

  /** Forgets all pictures: a run that was begun anew draws others under the same names. */
  forget() {
    this.#cache.clear();
    this.#shown = null;
  }

  get #current() {
    return this.#list[this.#slider.valueAsNumber];
  }

  get #atEnd() {
    return this.#slider.valueAsNumber >= this.#list.length - 1;
  }

  #moved() {
    this.#stop();
    this.#show();
  }

  #go(index) {
    this.#slider.value = index;
    return this.#show();
  }

  #toEnd() {
    this.#go(this.#list.length - 1);
    this.#stop();
    this.#slider.focus();
  }

  async #show() {
    const { step, url } = this.#current;
    this.#output.textContent = `step ${count(step)}`;
    this.#slider.setAttribute("aria-valuetext", `step ${count(step)}`);
    this.#slider.disabled = this.#play.disabled = this.#list.length < 2;
    this.#newest.disabled = this.#atEnd;
    if (this.#shown === url) return;
    this.#shown = url;
    const address = await this.#cache.get(url).catch(() => null);
    if (this.#shown !== url) return;
    if (address) await this.#draw(address, step);
    else this.#shown = null;
  }

  async #draw(address, step) {
    this.#image.src = address;
    this.#image.alt = `${this.#section.querySelector("h2").textContent} at step ${count(step)}`;
    await this.#image.decode().catch(() => {});
    const { naturalWidth, naturalHeight } = this.#image;
    if (naturalHeight) this.#image.style.setProperty("--ratio", naturalWidth / naturalHeight);
  }

  /** Plays from where the slider is, or from the beginning, to the end. */
  async #start() {
    const film = this.#setFilm({});
    let index = this.#atEnd ? 0 : this.#slider.valueAsNumber;
    this.#follows = false;
    for (; film === this.#film && index < this.#list.length; index++) {
      const pace = Math.min(SLOWEST_MS, Math.max(FASTEST_MS, PLAY_MS / this.#list.length));
      await Promise.all([this.#go(index), new Promise((resolve) => setTimeout(resolve, pace))]);
      if (document.hidden) this.#stop();
    }
    if (film === this.#film) this.#stop();
  }

  #stop() {
    this.#follows = this.#atEnd;
    this.#setFilm(null);
  }

  #setFilm(film) {
    this.#film = film;
    const what = this.#section.querySelector("h2").textContent.toLowerCase();
    this.#play.firstElementChild.textContent = film ? "❚❚" : "▶";
    this.#play.setAttribute("aria-label", film ? `Pause ${what}` : `Play ${what}`);
    return film;
  }
}

/** Pictures by address; those not looked at for the longest time go first. */
class Cache {
  #addresses = new Map();

  /** The address of a local copy. */
  get(url) {
    const address = this.#addresses.get(url) ?? picture(url).then((blob) => URL.createObjectURL(blob));
    this.#addresses.delete(url);
    this.#addresses.set(url, address);
    address.catch(() => this.#addresses.delete(url));
    if (this.#addresses.size > KEPT) this.#drop(this.#addresses.keys().next().value);
    return address;
  }

  clear() {
    for (const url of [...this.#addresses.keys()]) this.#drop(url);
  }

  #drop(url) {
    this.#addresses.get(url).then(URL.revokeObjectURL, () => {});
    this.#addresses.delete(url);
  }
}
