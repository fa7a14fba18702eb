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
  /**
   * The full list at this moment. Throws when it cannot tell: what is loaded then stays, and the text is in the model's status. Never called
   * again before it has settled; `signal` aborts when nobody waits for the answer any more.
   */
  find(signal: AbortSignal): Promise<readonly FoundVersion[]> | readonly FoundVersion[];
  stop?(): void | Promise<void>;
}

/** A source that watches by itself. */
export interface PushingSource {
  /**
   * Called once. Call `aspire` with the full list now and whenever it changes, and `failed` when it cannot be told at the moment: what was
   * said last then stands. Both throw for what they cannot use (see `checkFoundVersions` in `connect.ts`), and do nothing after `stop`.
   */
  start(aspire: AspiredVersionsCallback, failed: SourceFailedCallback): void | Promise<void>;
  stop?(): void | Promise<void>;
}

/** Takes the full list of versions of one model: TensorFlow Serving's `AspiredVersionsCallback`. */
export type AspiredVersionsCallback = (versions: readonly FoundVersion[]) => void;

/** Takes the reason why the versions of one model cannot be told at the moment. */
export type SourceFailedCallback = (error: Error) => void;

/** Takes what sources say: TensorFlow Serving's `Target`. */
export interface Target {
  readonly aspire: AspiredVersionsCallback;
  readonly failed: SourceFailedCallback;
}

/** One version of a model as a transition policy sees it: TensorFlow Serving's `AspiredServableStateSnapshot`, over the whole fleet. */
export interface VersionSnapshot {
  readonly version: number;
  readonly aspired: boolean;
  /**
   * `new`: aspired, on no worker yet. `available`: aspired and on as many workers as it needs, with requests going there; or no longer aspired
   * and still on some worker. `error`: every worker that was to load it has given up. `loading` and `unloading`: on its way.
   */
  readonly state: 'new' | 'loading' | 'available' | 'unloading' | 'error';
  /** On as many workers as it needs, with requests going there, aspired or not. */
  readonly complete: boolean;
}

/** What a policy wants next; null: nothing. */
export type PolicyAction = { readonly type: 'load' | 'unload'; readonly version: number } | null;

/**
 * What a module of a transition policy exports as its default: pure, asked again whenever something has changed, until it wants nothing.
 * `versions` are those of one model, in descending order. It may load what is aspired and `new`, and unload what is not aspired and
 * `available`; everything else is refused. TensorFlow Serving's `AspiredVersionPolicy::GetNextAction`.
 */
export type NextAction = (versions: readonly VersionSnapshot[]) => PolicyAction;
