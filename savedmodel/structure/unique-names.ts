/** Gives every node of a graph a name of its own. */
export class UniqueNames {
  private readonly used: Set<string>;

  constructor(used: Iterable<string> = []) {
    this.used = new Set(used);
  }

  /** `name` itself, or with `#1`, `#2`, … behind it where it is taken. */
  take(name: string): string {
    let unique = name;
    for (let count = 1; this.used.has(unique); count++) unique = `${name}#${count}`;
    this.used.add(unique);
    return unique;
  }
}
