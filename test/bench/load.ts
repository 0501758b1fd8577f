/** Loads a package of the `package.json` beside this file, which whoever compiles this need not have installed. */
export const load = async <A>(name: string): Promise<A> => await import(name)
