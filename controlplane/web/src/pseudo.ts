/** U+202E turns a word around, U+202C ends that: the convention of the pseudo-locale ar-XB. */
const TURN = "\u202e";
const END = "\u202c";

const ACCENTED: Readonly<Record<string, string>> = {
  a: "á", e: "é", i: "í", o: "ó", u: "ú", n: "ñ", c: "ç", s: "š", y: "ý", g: "ğ",
  A: "Á", E: "É", I: "Í", O: "Ó", U: "Ú", N: "Ñ", C: "Ç", S: "Š", Y: "Ý", G: "Ğ",
};

/** A text of the catalogue as the pseudo-locale says it; values in braces keep their places. */
export function pseudoText(text: string): string {
  const words = text.split(/(\{\w+\}|\s+)/).map((part) => {
    if (part === "" || /^\s|^\{/.test(part)) {
      return part;
    }
    const accented = [...part].map((letter) => ACCENTED[letter] ?? letter).join("");
    return `${TURN}${accented}${"·".repeat(Math.ceil(part.length / 3))}${END}`;
  });
  return words.join("");
}
