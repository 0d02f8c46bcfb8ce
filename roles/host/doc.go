// Package host puts what init made for a node in its place on the node's host, and takes it out again: the commands
// install and uninstall.
//
// A node comes as its folder or as an archive of it (node.go). What is to be done is found out first, as a list of
// steps that are shown before the first one is taken (plan.go); what is in place already is no step, so a second call
// does nothing. The folder of a node belongs to its role's user, who may be somebody else by now: whatever root does
// there, it does by [os.Root] and by renaming, and follows no link out of the folder.
//
// Tools that are told no configuration take that of a node that is installed here (find.go).
package host
