/** What the library refuses or cannot do. */
export class FlowTurboError extends Error {
  /** @param {string} status The name of an ft_status, such as "FT_ERROR_INVALID_ARGUMENT". */
  constructor(status, message) {
    super(message);
    this.name = "FlowTurboError";
    this.status = status;
  }
}
