// Package layout discovers the components of a node and the paths of their certificates from
// the components themselves: command lines of processes, static-pod manifests, systemd units
// and configuration files. It needs no table of paths, makes no connection and starts no
// program. Package scan determines the signers of certificates and the certificates that
// endpoints serve.
//
// Everything it reads may be broken or hostile. A file that cannot be used becomes
// an entry of inventory.Node.NotInspected, never an error of the whole.
package layout
