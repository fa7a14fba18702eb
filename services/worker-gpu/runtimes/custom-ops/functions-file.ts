/** What the file in a plan's folder is called whose bytes are to be appended to a model file: functions of custom ops. */
export function functionsFile(modelFile: string): string {
  return `${modelFile}.functions`;
}
