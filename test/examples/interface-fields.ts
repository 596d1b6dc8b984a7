import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { root } from "./build.js";

/** One member of an interface, and what its comment says. */
export interface Field {
  readonly name: string;
  readonly text: string;
  readonly defaultValue: string | undefined;
}

/** The members of an interface of a source file, in the order they are written. */
export function fieldsOf(path: string, name: string): readonly Field[] {
  const source = ts.createSourceFile(path, readFileSync(join(root, path), "utf8"), ts.ScriptTarget.Latest, true);
  const found = source.statements.find((node) => ts.isInterfaceDeclaration(node) && node.name.text === name);
  if (found === undefined || !ts.isInterfaceDeclaration(found)) throw new Error(`${path} has no interface ${name}`);
  return found.members.map((member) => {
    const comments = ts.getJSDocCommentsAndTags(member);
    const tag = ts.getJSDocTags(member).find(({ tagName }) => tagName.text === "default");
    return {
      name: member.name?.getText(source) ?? "",
      text: comments.filter(ts.isJSDoc).map(textOf).join(" "),
      defaultValue: tag === undefined ? undefined : textOf(tag),
    };
  });
}

/** A field as a row of a Markdown table. */
export function rowOf({ name, text, defaultValue }: Field): string {
  return `| \`${name}\` | ${text} | ${defaultValue === undefined ? "" : `\`${defaultValue}\``} |`;
}

function textOf(node: ts.JSDoc | ts.JSDocTag): string {
  return (ts.getTextOfJSDocComment(node.comment) ?? "").replace(/\s+/g, " ").trim();
}
