// Package page is what a person sees of an installation at a health role: what is wrong and what to do, the fleet,
// how fast changes spread, the changes themselves, and each zone at each secondary. [New] makes it a handler that
// reads a [Source], which the health role is, and a [History], which the health role fills. It only reads.
//
// Everything is made by the server and works without a script. The script fetches the same pages again and puts what
// has changed into the one that is shown. Styles and script are files of the program's own: the policy that each
// answer carries lets nothing else in.
package page
