/** Properties of an element; names that begin with `aria-`, `data-` or that are attributes only are set as such. */
type Properties = Readonly<Record<string, string | number | boolean | null | undefined | EventListener>>;
type Child = Node | string | null | undefined;

const SVG = "http://www.w3.org/2000/svg";

function apply(element: Element, properties: Properties): void {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Makes an element. Texts are texts, whatever they contain. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  properties: Properties = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  apply(element, properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Makes an element of a drawing. */
export function draw<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  properties: Properties = {},
  ...children: readonly Node[]
): SVGElementTagNameMap[Name] {
  const element = document.createElementNS(SVG, name);
  apply(element, properties);
  element.append(...children);
  return element;
}

/** Sets a text if it is another one: the same text again would be read aloud again, and laid out again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets or removes an attribute if it is another one. */
export function setAttribute(element: Element, name: string, value: string | null): void {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** The element of the page with that id, which index.html has. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no #${id}.`);
  return found;
}
