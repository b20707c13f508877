# Prints the changes, as ldapmodify reads them, that make the entries of the first file into those of the second: changes.pl HAVE WANT.
# Both are as export.pl prints them: each entry after the one that it lies in.
use strict;
use warnings;

sub entries {
	my ($file, @order, %all) = @_;
	open my $in, '<', $file or die "openldap: read $file: $!\n";
	local $/ = '';
	while (<$in>) {
		my ($dn, @lines) = grep { length } split /\n/;
		push @order, $dn;
		for (@lines) { push @{ $all{$dn}{$1} }, $_ if /^([^:]+):/ }
	}
	return (\@order, \%all);
}

my ($order, $have) = entries($ARGV[0]);
my ($wanted, $want) = entries($ARGV[1]);
print "$_\nchangetype: delete\n\n" for grep { !$want->{$_} } reverse @$order;
for my $dn (@$wanted) {
	my ($h, $w) = ($have->{$dn}, $want->{$dn});
	if (!$h) {
		print "$dn\nchangetype: add\n", (map { map { "$_\n" } @{ $w->{$_} } } sort keys %$w), "\n";
		next;
	}
	my @changed = grep { join("\n", @{ $h->{$_} || [] }) ne join("\n", @{ $w->{$_} || [] }) } sort keys %{ { %$h, %$w } };
	next unless @changed;
	print "$dn\nchangetype: modify\n";
	# Without values: it goes.
	print "replace: $_\n", (map { "$_\n" } @{ $w->{$_} || [] }), "-\n" for @changed;
	print "\n";
}
