// Package layout discovers what a node runs and where its certificates lie, from
// what the components themselves say: command lines of processes, static-pod
// manifests, systemd units and configuration files. It knows no distribution and
// no table of paths, makes no connection and starts no program; which certificate
// was signed by whom, and what is served, is found out by package scan.
//
// Everything it reads may be broken or hostile. A file that cannot be used becomes
// an entry of inventory.Node.NotInspected, never an error of the whole.
package layout
