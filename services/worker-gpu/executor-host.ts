/** Where an executor's work is done: a thread of this process, or a process of its own. */
import type { FromThread, ToThread } from './executor-protocol.ts';

/** A place for one executor's work. It takes one message after the other and answers each, in order. */
export interface ExecutorHost {
  /** True: tensors lie in memory that both sides see. False: they travel with the messages. */
  readonly sharesMemory: boolean;
  /** Bytes that a message carries are not changed any more. */
  post(message: ToThread): void;
  /** The memory it has for itself now, in bytes; undefined where that cannot be told, or is not its own. */
  memoryBytes(): number | undefined;
  /** Ends it, whatever it does, and resolves when it is gone. Nothing is told to the listener from then on. */
  end(): Promise<void>;
}

/** Who is told what a host does. */
export interface HostListener {
  /** Bytes that it carries lie at the start of memory of their own. */
  onMessage(message: FromThread): void;
  /** The code of a user that runs from now on. */
  onEntered(name: string): void;
  /** It is gone. `reason` is a verb and what follows: `left with code 9`. At most once, and nothing after it. */
  onEnd(end: HostEnd): void;
}

/** How a host ended by itself. */
export interface HostEnd {
  readonly reason: string;
  /** It had no memory left. */
  readonly outOfMemory: boolean;
}
