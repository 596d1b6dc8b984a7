/** The files of the page. */
export interface PageAssets {
  readonly html: string;
  readonly icon: string;
  readonly css: string;
  readonly script: string;
}

/**
 * The page, made of the files in `page/`. The build replaces this module by one that holds their text (`embed-page.mjs`), and
 * so do the tests; run from the sources alone, the page is empty.
 */
export const PAGE: PageAssets = { html: "", icon: "", css: "", script: "" };
