# cn=config with its schema, or the verification account's entry, as LDIF that is the same for the same state: export.pl reads LDIF and
# prints it with lines unfolded, values sorted, attributes sorted below objectClass, and without what the server notes by itself
# (who changed what when). Entries stay in their order: each after the one that it lies in.
use strict;
use warnings;
use MIME::Base64 qw(decode_base64 encode_base64);

my %drop = map { lc($_) => 1 } qw(structuralObjectClass entryUUID creatorsName createTimestamp entryCSN modifiersName modifyTimestamp contextCSN
	entryDN subschemaSubentry hasSubordinates), @ARGV;

# key sorts {2} before {10}, by number and not by letter.
sub key { my $v = shift; $v =~ s/\{(-?\d+)\}/sprintf '{%010d}', $1 + 1/ge; return $v }

# line is one value in LDIF, in base64 where it must be (RFC 2849) and only there.
sub line {
	my ($name, $value) = @_;
	return "${name}:: " . encode_base64($value, '') . "\n" if $value =~ /[\x00\n\r\x80-\xff]|^[ :<]| $/;
	return "${name}: $value\n";
}

local $/ = '';
my @out;
while (my $entry = <STDIN>) {
	$entry =~ s/\n //g;
	my ($dn, %attr);
	for (split /\n/, $entry) {
		next if /^#/ or /^version:/;
		/^([^:]+):(:?) ?(.*)$/ or die "openldap: this is no LDIF: $_\n";
		my ($name, $value) = ($1, $2 ? decode_base64($3) : $3);
		if (lc $name eq 'dn') { $dn = $value; next }
		push @{ $attr{$name} }, $value unless $drop{ lc $name };
	}
	next unless defined $dn;
	my $text = line('dn', $dn);
	for my $name (sort { ($a ne 'objectClass') <=> ($b ne 'objectClass') || $a cmp $b } keys %attr) {
		$text .= line($name, $_) for sort { key($a) cmp key($b) } @{ $attr{$name} };
	}
	push @out, [ $dn, $text ];
}
# By the way from the top down: cn=schema,cn=config is config, schema.
my %at;
$at{$_->[0]} = join "\0", map { key(lc) } reverse split /(?<!\\),/, $_->[0] for @out;
print join "\n", map { $_->[1] } sort { $at{ $a->[0] } cmp $at{ $b->[0] } } @out;
