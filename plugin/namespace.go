package plugin

import (
	"github.com/spf13/pflag"

	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// installFlags are the flags of the commands for an installation. Their --namespace is that of
// the installation; for other commands it is that of the node pods.
type installFlags struct {
	*connectionFlags
	where string
	own   *pflag.Flag
}

// addNamespace adds --namespace; without a default, all namespaces are searched.
func (f *installFlags) addNamespace(set *pflag.FlagSet, standard, usage string) {
	set.StringVarP(&f.where, "namespace", "n", standard, usage)
	f.own = set.Lookup("namespace")
}

// targetNamespace is the one that was given, or the default.
func (f *installFlags) targetNamespace() string {
	if f.where == "" {
		return manifests.DefaultNamespace
	}
	return f.where
}

// sameCommand is the command line for the same cluster and installation.
func (f *installFlags) sameCommand(name string) string {
	text := f.connectionFlags.commandLine() + " " + name
	if f.own != nil && f.own.Changed {
		text += " --namespace " + f.where
	}
	return text
}
