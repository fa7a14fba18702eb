/** TensorFlow Serving cuts status messages here. */
const MAX_MESSAGE_CHARACTERS = 1024;

/** The text of a status, cut as TensorFlow Serving cuts it. */
export function statusText(message: string): string {
  const cut = message.length > MAX_MESSAGE_CHARACTERS ? `${message.slice(0, MAX_MESSAGE_CHARACTERS)}...TRUNCATED` : message;
  // Half a character, such as one cut in two here, cannot be written into a header.
  return cut.toWellFormed();
}
