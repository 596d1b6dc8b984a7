import { renderUnicodeCompact } from "uqr";
import { LiveView } from "./live-view.js";
import { widthOf } from "./table.js";
import type { Terminal } from "./terminal.js";
import { instantText } from "./time-text.js";

/** Modules of white around the code. Four are asked for by ISO/IEC 18004; phones read it with two. */
const BORDER = 2;
/** The lines below the code, and the one of the cursor. */
const LINES_BELOW = 6;
const HINT = "Scan it with Telegram on your phone: Settings, Devices, Link Desktop Device.";

/** Shows QR codes on stderr, each in the place of the one before. Without a terminal they follow one another. */
export class QrView {
  readonly #terminal: Terminal;
  #view: LiveView | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Shows a code that says `url`, and the link itself: for a device on which no camera can see this screen. */
  show(url: string, expiresAt: number): void {
    const code = renderUnicodeCompact(url, { border: BORDER }).split("\n");
    // The link has a line of its own, so that it can be copied whole.
    const text = [HINT, "Or open this link on a device where the account is signed in:", url];
    const until = `A new code replaces it before ${instantText(expiresAt)}. Ctrl-C gives up.`;
    if (!this.#terminal.isNoteLive) {
      for (const line of [...code, ...text]) this.#terminal.note(line);
      return;
    }
    this.#view ??= new LiveView(this.#terminal, this.#terminal.stderr);
    this.#view.draw([...this.#fit(code), "", ...text.flatMap((line) => this.#wrap(line)), until]);
  }

  /** Erases the code. */
  end(): void {
    this.#view?.end({ erase: true });
    this.#view = undefined;
  }

  /** A code of which a line is missing, or that is wrapped, can be read by no phone. */
  #fit(code: readonly string[]): readonly string[] {
    const { columns, rows } = this.#terminal;
    const width = Math.max(...code.map(widthOf));
    if (width > columns || code.length + LINES_BELOW > rows) {
      return [
        `The terminal is too small for the QR code: it needs ${width} columns and ${code.length + LINES_BELOW} lines.`,
      ];
    }
    return code.map((line) => this.#terminal.paintNote(["whiteBright", "bgBlack"], line));
  }

  #wrap(line: string): readonly string[] {
    const { columns } = this.#terminal;
    const parts: string[] = [];
    for (let rest = line; rest !== ""; rest = rest.slice(columns)) parts.push(rest.slice(0, columns));
    return parts;
  }
}
