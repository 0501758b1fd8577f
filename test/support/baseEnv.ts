/** What a child process is given in any case: where programs are, and where Node keeps what it has compiled. */
export const baseEnv = {
  PATH: process.env.PATH,
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE
}
