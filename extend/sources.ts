/** Custom sources, which say what versions exist, and custom transition policies, which say in which order they come and go. */

/** A version that exists, and where its folder is, as workers see it. */
export interface FoundVersion {
  readonly version: number;
  readonly path: string;
}

/**
 * What a module of sources exports as its default: a source for one model. A model uses it when its `base_path` begins with the module's name
 * and a colon; what follows is `location`.
 */
export type SourceFactory = (model: { readonly name: string; readonly location: string }) => Source;

/**
 * Says which versions of a model exist. Either `find` is there, and is asked at each poll, or `start`, and says so itself when it likes. The
 * list is always the full one: a version that is not in it is no longer aspired. What is said twice changes nothing.
 */
export type Source = PolledSource | PushingSource;

/** A source that is asked every `--file_system_poll_wait_seconds`. */
export interface PolledSource {
  /** The full list at this moment. Throws when it cannot tell: what is loaded then stays, and the text is in the model's status. */
  find(signal: AbortSignal): Promise<readonly FoundVersion[]> | readonly FoundVersion[];
  stop?(): void | Promise<void>;
}

/** A source that watches by itself. */
export interface PushingSource {
  /** Called once. Call `aspire` with the full list now and whenever it changes, from this thread. */
  start(aspire: AspiredVersionsCallback): void | Promise<void>;
  stop?(): void | Promise<void>;
}

/** Takes the full list of versions of one model: TensorFlow Serving's `AspiredVersionsCallback`. */
export type AspiredVersionsCallback = (versions: readonly FoundVersion[]) => void;

/** Takes what sources say: TensorFlow Serving's `Target`. */
export interface Target {
  readonly aspire: AspiredVersionsCallback;
}

/** One version of a model as a transition policy sees it: TensorFlow Serving's `AspiredServableStateSnapshot`, over the whole fleet. */
export interface VersionSnapshot {
  readonly version: number;
  readonly aspired: boolean;
  readonly state: 'new' | 'loading' | 'available' | 'unloading' | 'error';
}

/** What a policy wants next; null: nothing. */
export type PolicyAction = { readonly type: 'load' | 'unload'; readonly version: number } | null;

/**
 * What a module of a transition policy exports as its default: pure, asked again whenever something has changed, until it wants nothing.
 * TensorFlow Serving's `AspiredVersionPolicy::GetNextAction`.
 */
export type NextAction = (versions: readonly VersionSnapshot[]) => PolicyAction;
